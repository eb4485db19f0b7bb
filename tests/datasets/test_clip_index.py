"""The checked index beside lists: rows, checks, duplicates, and a training that reads it."""

import copy
import json
import os
import pickle
import shutil
import sqlite3

import pytest
import torch.distributed as dist
from helpers.support import free_port
from helpers.video_files import PIPELINE
from torch.utils.data import DataLoader

from cnnlstm_mm.commands.prepare import indexing, probing
from cnnlstm_mm.datasets import CheckedVideoDataset, clip_index
from cnnlstm_mm.storage import OutputFolder


@pytest.fixture
def data(quickstart_data, tmp_path):
    """Two lists of 6 and 3 clips, prepared; one clip stands in both under two names."""
    clips = sorted((quickstart_data / 'videos').rglob('*.avi'))[:8]
    (tmp_path / 'videos').mkdir()
    for k, clip in enumerate(clips):
        shutil.copy(clip, tmp_path / 'videos' / f'{k}.avi')
    shutil.copy(clips[0], tmp_path / 'videos' / 'again.avi')
    lists = {
        'toy_train_split_1.txt': [(f'{k}.avi', k % 3) for k in range(6)],
        'toy_val_split_1.txt': [('6.avi', 0), ('7.avi', 1), ('again.avi', 0)],
    }
    for name, rows in lists.items():
        (tmp_path / name).write_text(''.join(f'{path} {label}\n' for path, label in rows))
    names = {path: tmp_path / 'videos' / path for rows in lists.values() for path, _ in rows}
    probed = {path: probing.probe(str(file)) for path, file in names.items()}
    indexing.write_list_index(OutputFolder(tmp_path), 'videos', lists, probed)
    return tmp_path


def dataset(data, name='toy_train_split_1.txt', **options):
    return CheckedVideoDataset(
        str(data / name), PIPELINE, data_prefix=dict(video=str(data / 'videos')), **options
    )


def test_rows_are_those_of_the_list(data, monkeypatch):
    indexed = dataset(data)
    assert isinstance(indexed.data_list, clip_index.IndexedClips)
    (data / 'clips.sqlite').rename(data / 'elsewhere')
    plain = dataset(data)
    assert isinstance(plain.data_list, list) and len(plain) == len(indexed) == 6
    for k in range(6):
        one, two = indexed.get_data_info(k), plain.get_data_info(k)
        assert one.pop('indexed_frames') == 16
        assert one == two and indexed.get_cat_ids(k) == plain.get_cat_ids(k)
    (data / 'elsewhere').rename(data / 'clips.sqlite')
    assert len(indexed.get_subset(2)) == 2
    for other in (copy.deepcopy(indexed), pickle.loads(pickle.dumps(indexed))):
        assert other.get_data_info(5)['filename'] == indexed.get_data_info(5)['filename']
    samples = list(DataLoader(indexed, num_workers=2, collate_fn=lambda batch: batch[0]))
    assert [s['data_samples'].gt_label.item() for s in samples] == [0, 1, 2, 0, 1, 2]


def test_the_table_holds_what_was_found_out(data):
    with sqlite3.connect(data / 'clips.sqlite') as db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute("select * from clips where path = '3.avi'").fetchone())
    stat = os.stat(data / 'videos/3.avi')
    assert (row['size'], row['mtime_ns']) == (stat.st_size, stat.st_mtime_ns)
    assert (row['frames'], row['width'], row['height']) == (16, 96, 96)
    assert (row['fps'], row['codec'], row['rotation']) == (8, 'MJPG', 0)


def test_no_file_is_looked_up_but_some(data, monkeypatch):
    monkeypatch.setattr(clip_index, 'CHECKED', 2)
    seen = []
    real = os.stat
    monkeypatch.setattr(os, 'stat', lambda path, **k: seen.append(str(path)) or real(path, **k))
    dataset(data)
    assert len([path for path in seen if path.endswith('.avi')]) == 2


def test_a_changed_list_is_read_itself(data):
    with (data / 'toy_train_split_1.txt').open('a') as file:
        file.write('6.avi 2\n')
    assert len(dataset(data)) == 7 and isinstance(dataset(data).data_list, list)


@pytest.mark.parametrize('fault', [False, True])
def test_rank_0_checks_and_the_others_receive(data, tmp_path, fault):
    """Two processes: the second one reads neither list nor files, and gets the same error."""
    if fault:
        (data / 'videos/2.avi').write_bytes(b'other')
    port, children = free_port(), []
    for rank in (0, 1):
        child = os.fork()
        if not child:
            try:
                address = f'tcp://127.0.0.1:{port}'
                dist.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
                looked_up, stat = [], os.stat
                os.stat = lambda path, *a, **k: looked_up.append(str(path)) or stat(path, *a, **k)
                try:
                    built = dataset(data)
                    found = [built.get_data_info(k)['filename'] for k in range(len(built))]
                except ValueError as error:
                    found = str(error)
                clips = sum(path.endswith('.avi') for path in looked_up)
                (tmp_path / f'{rank}.json').write_text(json.dumps([found, clips]))
                dist.barrier()  # and no destroy_process_group: in a fork with torch 2.7 it waits
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    (one, clips), (two, others) = (
        json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)
    )
    assert one == two and clips and not others
    assert 'has 5 bytes' in one if fault else one == [f'{data}/videos/{k}.avi' for k in range(6)]


def test_changed_and_missing_files_are_named(data):
    (data / 'videos/2.avi').write_bytes(b'other')
    with pytest.raises(
        ValueError, match=r'line 3: .*2.avi has 5 bytes, and \d+ in the index\nfix: write list'
    ):
        dataset(data)
    (data / 'videos/2.avi').unlink()
    with pytest.raises(FileNotFoundError, match='line 3: .*2.avi is not there'):
        dataset(data)
    (data / 'clips.sqlite').write_bytes(b'no database at all')
    with pytest.raises(ValueError, match='expected an index of clips, got .*clips.sqlite'):
        dataset(data)


def test_a_clip_has_the_frames_that_were_decoded(data):
    """Its header may promise more."""
    with sqlite3.connect(data / 'clips.sqlite') as db:
        db.execute("update clips set frames = 9 where path = '0.avi'")
    (init, *_), info = dataset(data).pipeline.transforms, dataset(data).get_data_info(0)
    assert init(info)['total_frames'] == 9


def test_copies_and_leaks_are_reported(data, capsys):
    lists = {'toy_train_split_1.txt': [('0.avi', 0)], 'toy_val_split_1.txt': [('again.avi', 0)]}
    for name, ((path, label),) in lists.items():
        (data / name).write_text(f'{path} {label}\n')
    indexing.write_list_index(OutputFolder(data), 'videos', lists, {'0.avi': {}, 'again.avi': {}})
    assert 'NOTE' not in capsys.readouterr().out  # the number of frames is not known
    probed = {key: dict(frames=16) for key in ('0.avi', 'again.avi')}
    indexing.write_list_index(OutputFolder(data), 'videos', lists, probed)
    said = capsys.readouterr().out
    assert '1 clips that are there twice or more:\n  videos/0.avi = videos/again.avi' in said
    assert '1 clips that stand in a training list and in a list of its test' in said
    with sqlite3.connect(data / 'clips.sqlite') as db:
        paths = db.execute('select path from clips').fetchall()
    assert paths == [('0.avi',), ('again.avi',)]  # clips of no list have gone
    (data / 'third.txt').write_text('0.avi 5\n')
    indexing.write_list_index(OutputFolder(data), 'videos', {'third.txt': [('0.avi', 5)]}, probed)
    with sqlite3.connect(data / 'clips.sqlite') as db:  # other lists stay
        query = 'select name, row, path, label from entries join lists on list = lists.id join clips on clip = clips.id order by name'
        assert db.execute(query).fetchall() == [
            ('third.txt', 0, '0.avi', 5),
            *((name, 0, *rows[0]) for name, rows in lists.items()),
        ]


def test_the_bytes_depend_on_lists_and_facts_alone(data):
    before = (data / 'clips.sqlite').read_bytes()
    lists = {
        path.name: [(clip, int(label)) for clip, label in map(str.split, path.open())]
        for path in data.glob('toy_*.txt')
    }
    names = sorted({clip for rows in lists.values() for clip, _ in rows}, reverse=True)
    probed = {name: probing.probe(str(data / 'videos' / name)) for name in names}
    indexing.write_list_index(OutputFolder(data), 'videos', lists, probed)
    assert (data / 'clips.sqlite').read_bytes() == before


def test_edit_lists_hide_no_clip(tmp_path):
    """A clip cut by stream copy is whole, though its header counts the frames before the cut."""
    from helpers.video_files import make_video, shown_frames

    path = make_video('cut.mp4', tmp_path)
    found = probing.probe(str(path))
    assert (found['state'], found['frames']) == ('ok', len(shown_frames(path)))
