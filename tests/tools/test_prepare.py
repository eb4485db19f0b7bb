"""tools/data/prepare_*.py: official lists to the line, every fault named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from helpers.support import ROOT, run_tool
from helpers.tree import snapshot

from cnnlstm_mm.commands.prepare import preparation, probing
from cnnlstm_mm.storage import OutputFolder
from cnnlstm_mm.video_files import find_videos


@pytest.fixture(scope='module')
def clips(quickstart_data):
    """Small real videos."""
    return sorted((quickstart_data / 'videos').rglob('*.avi'))


@pytest.fixture(scope='module')
def ucf(clips, tmp_path_factory):
    """A small UCF101: three classes, groups 1 to 4, official-like lists."""
    root = tmp_path_factory.mktemp('ucf')
    lists = root / 'splits' / 'ucfTrainTestlist'
    lists.mkdir(parents=True)
    classes = ['Archery', 'Bowling', 'Punch']
    (lists / 'classInd.txt').write_text(
        ''.join(f'{k} {name}\r\n' for k, name in enumerate(classes, 1))
    )
    count = 0
    for split in (1, 2, 3):
        for part, groups in (('train', (2, 3, 4)), ('test', (1,))):
            lines = []
            for k, name in enumerate(classes, 1):
                for group in groups:
                    group = (group + split - 2) % 4 + 1
                    for c in (1, 2):
                        clip = f'{name}/v_{name}_g{group:02d}_c{c:02d}.avi'
                        path = root / 'UCF-101' / clip
                        if not path.is_file():
                            path.parent.mkdir(parents=True, exist_ok=True)
                            shutil.copy(clips[count % len(clips)], path)
                            count += 1
                        label = f' {k}' if part == 'train' else ''
                        lines.append(f'{clip}{label}\r\n')
            (lists / f'{part}list{split:02d}.txt').write_text(''.join(lines))
    return root


def wanted_lists(lists, there):
    """The README's rule, read slowly: official lines that are there."""
    ids = {}
    for line in (lists / 'classInd.txt').read_text().split('\n'):
        if line.strip():
            number, name = line.split()
            ids[name] = int(number) - 1
    wanted = {}
    for split in (1, 2, 3):
        for part, ours in (('train', 'train'), ('test', 'val')):
            lines = []
            for line in (lists / f'{part}list{split:02d}.txt').open():
                clip = line.split()[0]
                if clip in there:
                    lines.append(f'{clip} {ids[clip.split("/")[0]]}\n')
            wanted[f'ucf101_{ours}_split_{split}_videos.txt'] = ''.join(lines)
    return wanted


def call(name, *args):
    """Run a preparation; what the user named before --out stays byte for byte, link for link."""
    folders = [Path(a) for a in args[: args.index('--out')] if Path(a).exists()]
    before = [snapshot(folder) for folder in folders]
    done = run_tool(f'tools/data/prepare_{name}.py', *args, '--workers', 2)
    assert [snapshot(folder) for folder in folders] == before
    return done


def prepare(name, *args):
    done = call(name, *args)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_lists(out, wanted):
    for name, text in wanted.items():
        assert (out / name).read_text() == text, name
        for line in text.splitlines():
            assert (out / 'videos' / line.split()[0]).is_file()


@pytest.mark.parametrize('packed', [True, False])
def test_ucf101_lists_are_the_official_ones(ucf, tmp_path, packed):
    source, splits = ucf / 'UCF-101', ucf / 'splits'
    if packed:
        source = shutil.make_archive(tmp_path / 'UCF101', 'zip', ucf, 'UCF-101')
        splits = shutil.make_archive(tmp_path / 'splits', 'zip', splits)
    there = {
        path.relative_to(ucf / 'UCF-101').as_posix() for path in (ucf / 'UCF-101').rglob('*.avi')
    }
    prepare('ucf101', source, splits, '--out', tmp_path / 'out')
    lists = ucf / 'splits' / 'ucfTrainTestlist'
    check_lists(tmp_path / 'out', wanted_lists(lists, there))
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert report['clips'] == 24 and report['classes'] == 3
    assert not any(report[key] for key in ('missing', 'broken', 'extra'))
    assert (tmp_path / 'out/label_map.txt').read_text() == 'Archery\nBowling\nPunch\n'


@pytest.mark.slow
def test_ucf101_names_every_fault(ucf, tmp_path):
    videos = tmp_path / 'UCF-101'
    shutil.copytree(ucf / 'UCF-101', videos)
    names = [f'Bowling/v_Bowling_g0{k}_c01.avi' for k in (1, 2, 3, 4)]
    cut, empty, text, gone = names
    data = (videos / cut).read_bytes()
    (videos / cut).write_bytes(data[: len(data) // 2])
    (videos / empty).write_bytes(b'')
    (videos / text).write_text('no video\n' * 50)
    (videos / gone).unlink()
    extra = 'Punch/v_Punch_g99_c01.avi'
    shutil.copy(videos / 'Punch/v_Punch_g01_c01.avi', videos / extra)
    out = tmp_path / 'out'
    said = prepare('ucf101', videos, ucf / 'splits', '--out', out)
    report = json.loads((out / 'report.json').read_text())
    assert set(report['broken']) == {cut, empty, text}
    assert 'ends early' in report['broken'][cut]
    assert report['broken'][empty] == '0 bytes'
    assert report['missing'] == [gone] and report['extra'] == [extra]
    assert report['by_class']['Bowling'] == dict(ok=4, short=0, broken=3, missing=1)
    assert all(name in said for name in (*names, extra))
    there = {path.relative_to(videos).as_posix() for path in videos.rglob('*.avi')} - {
        cut,
        empty,
        text,
    }
    check_lists(out, wanted_lists(ucf / 'splits/ucfTrainTestlist', there))


def test_ucf101_subset_keeps_groups_apart(ucf, tmp_path):
    out = tmp_path / 'out'
    prepare(
        'ucf101',
        ucf / 'UCF-101',
        ucf / 'splits',
        '--out',
        out,
        '--classes',
        'Punch',
        'Archery',
        '--limit',
        2,
    )
    for split in (1, 2, 3):
        lines = {
            part: (out / f'ucf101_{part}_split_{split}_videos.txt').read_text().splitlines()
            for part in ('train', 'val')
        }
        groups = {part: {line.split('_')[2] for line in lines[part]} for part in lines}
        assert not groups['train'] & groups['val']
        assert all(len(part) == 4 for part in lines.values())
        assert {(line.split('/')[0], line.split()[1]) for line in lines['train']} == {
            ('Archery', '0'),
            ('Punch', '1'),
        }


@pytest.mark.slow
def test_checking_goes_on_after_a_kill(ucf, tmp_path):
    out = tmp_path / 'out'
    args = [
        'tools/data/prepare_ucf101.py',
        str(ucf / 'UCF-101'),
        str(ucf / 'splits'),
        '--out',
        str(out),
        '--workers',
        '1',
    ]
    log = out / 'checked.jsonl'
    process = subprocess.Popen([sys.executable, *args], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not log.is_file() or log.read_text().count('\n') < 3:
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    log.write_text(log.read_text() + '{"state": "o')  # cut while written
    said = prepare('ucf101', ucf / 'UCF-101', ucf / 'splits', '--out', out)
    assert 'of 24 videos were checked before' in said
    names = [json.loads(line)['name'] for line in log.read_text().splitlines()]
    assert len(names) == len(set(names)) == 24


def test_a_decoder_that_dies_is_a_broken_video(clips, tmp_path, monkeypatch):
    """Whatever ends the process of a probe, the others are still probed."""
    (tmp_path / 'sitecustomize.py').write_text(
        'import os, cv2\n'
        'real = cv2.VideoCapture\n'
        'cv2.VideoCapture = lambda path: (\n'
        '    os._exit(11) if "deadly" in path else real(path))\n'
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    deadly = tmp_path / 'deadly.avi'
    shutil.copy(clips[0], deadly)
    videos = {'a': clips[1], 'deadly': deadly, 'b': clips[2], 'c': clips[3]}
    probed = probing.probe_all(videos, tmp_path / 'log.jsonl', 2)
    assert probed['deadly']['state'] == 'broken'
    assert 'crashed' in probed['deadly']['reason']
    assert all(probed[name]['state'] == 'ok' for name in 'abc')


@pytest.mark.slow
def test_ucf101_mini10(shared, tmp_path):
    """Two classes of the real clips against the official lists."""
    videos = shared / 'data/ucf101_mini10/videos'
    archive = tmp_path / 'UCF101.zip'
    with zipfile.ZipFile(archive, 'w') as file:
        for path in sorted(videos.glob('P*/*')):
            file.write(path, f'UCF-101/{path.relative_to(videos)}')
    lists = shared / 'data/ucfTrainTestlist'
    prepare('ucf101', archive, lists, '--out', tmp_path / 'out')
    there = {path.relative_to(videos).as_posix() for path in videos.glob('P*/*')}
    check_lists(tmp_path / 'out', wanted_lists(lists, there))
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert report['clips'] == 13320 and report['classes'] == 101
    assert len(report['missing']) == 13320 - len(there)


def test_hmdb51(clips, tmp_path):
    videos, splits = tmp_path / 'hmdb51_org', tmp_path / 'splits'
    splits.mkdir()
    for k, name in enumerate(('brush_hair', 'cartwheel')):
        (videos / name).mkdir(parents=True)
        for c in range(4):
            shutil.copy(clips[4 * k + c], videos / name / f'clip {c}.avi'.replace(' ', '_'))
        for split in (1, 2, 3):
            marks = [1, 2, 0, 1] if split == 1 else [2, 1, 1, 0]
            (splits / f'{name}_test_split{split}.txt').write_text(
                ''.join(f'clip_{c}.avi {mark} \n' for c, mark in enumerate(marks))
            )
    (videos / 'cartwheel' / 'clip_3.avi').write_bytes(b'')
    out = tmp_path / 'out'
    prepare('hmdb51', videos, splits, '--out', out)
    assert (out / 'hmdb51_train_split_1_videos.txt').read_text() == (
        'brush_hair/clip_0.avi 0\nbrush_hair/clip_3.avi 0\ncartwheel/clip_0.avi 1\n'
    )
    assert (out / 'hmdb51_val_split_2_videos.txt').read_text() == (
        'brush_hair/clip_0.avi 0\ncartwheel/clip_0.avi 1\n'
    )
    assert (out / 'videos/brush_hair/clip_0.avi').is_file()
    report = json.loads((out / 'report.json').read_text())
    assert list(report['broken']) == ['cartwheel/clip_3.avi']


@pytest.mark.parametrize('flat', [False, True])
def test_kinetics(clips, tmp_path, flat):
    rows = [
        ('abseiling', '_-a_1', 3, 13),
        ('arm wrestling', 'b-_2', 120, 130),
        ('arm wrestling', 'c3', 0, 10),
        ('zumba', 'd4', 7, 17),
    ]
    table = tmp_path / 'train.csv'
    table.write_text(
        'label,youtube_id,time_start,time_end,split\n'
        + ''.join(f'"{label}",{name},{start},{end},train\n' for label, name, start, end in rows)
    )
    videos = tmp_path / 'videos'
    for k, (label, name, start, end) in enumerate(rows[:3]):
        folder = videos if flat else videos / label.replace(' ', '_')
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(clips[k], folder / f'{name}_{start:06d}_{end:06d}.mp4')
    shutil.copy(clips[4], videos / 'unknown.mp4')
    out = tmp_path / 'out'
    said = prepare('kinetics', 'train', videos, table, '--data', 'kinetics400', '--out', out)
    assert 'expected 400 classes, got 3 in' in said
    lines = (out / 'kinetics400_train_list_videos.txt').read_text()
    paths = ['_-a_1_000003_000013.mp4', 'b-_2_000120_000130.mp4', 'c3_000000_000010.mp4']
    folders = ['', '', ''] if flat else ['abseiling/', *['arm_wrestling/'] * 2]
    assert lines == ''.join(
        f'{folder}{path} {label}\n' for folder, path, label in zip(folders, paths, (0, 1, 1))
    )
    for line in lines.splitlines():
        assert (out / 'videos_train' / line.split()[0]).is_file()
    report = json.loads((out / 'report_train.json').read_text())
    assert report['missing'] == ['d4_000007_000017']
    assert report['extra'] == ['unknown.mp4']
    assert (out / 'label_map.txt').read_text() == 'abseiling\narm wrestling\nzumba\n'


def test_kinetics_links_or_resizes_folders_with_spaces(clips, tmp_path):
    pytest.importorskip('imageio_ffmpeg')
    import cv2

    table = tmp_path / 'val.csv'
    table.write_text('label,youtube_id,time_start,time_end\narm wrestling,a,0,10\nzumba,b,0,10\n')
    videos = tmp_path / 'videos'
    (videos / 'arm wrestling').mkdir(parents=True)
    shutil.copy(clips[0], videos / 'arm wrestling' / 'a_000000_000010.avi')
    linked = tmp_path / 'linked'
    for _ in range(2):
        prepare('kinetics', 'val', videos, table, '--data', 'kinetics400', '--out', linked)
    lines = (linked / 'kinetics400_val_list_videos.txt').read_text()
    assert lines == 'arm_wrestling/a_000000_000010.avi 0\n'
    assert (linked / 'videos_val' / lines.split()[0]).read_bytes() == clips[0].read_bytes()
    out = tmp_path / 'out'
    for _ in range(2):  # the second run finds all done
        prepare(
            'kinetics',
            'val',
            videos,
            table,
            '--data',
            'kinetics400',
            '--out',
            out,
            '--short-side',
            64,
        )
    path, label = (out / 'kinetics400_val_list_videos.txt').read_text().split()
    assert (path, label) == ('arm_wrestling/a_000000_000010.mp4', '0')
    capture = cv2.VideoCapture(str(out / 'videos_val' / path))
    assert (capture.get(3), capture.get(4)) == (64, 64)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 16
    # It stands in the index, whose bytes are the same after any interruption.
    source = videos / 'arm wrestling' / 'a_000000_000010.avi'
    assert (out / 'videos_val' / path).stat().st_mtime_ns == source.stat().st_mtime_ns


def kinetics(root, rows, links=(), encoding='utf-8'):
    """VIDEOS and a csv; the clips of ``links`` are links to files elsewhere."""
    table = root / 'train.csv'
    lines = [
        'label,youtube_id,time_start,time_end',
        *(f'{label},{name},1,11' for label, name in rows),
    ]
    table.write_text('\n'.join(lines) + '\n', encoding=encoding)
    (root / 'VIDEOS').mkdir(exist_ok=True)
    return root / 'VIDEOS', table


def add_clip(videos, clip, name, label, link=False, suffix='.mp4'):
    path = videos / label / f'{name}_000001_000011{suffix}'
    path.parent.mkdir(parents=True, exist_ok=True)
    if link:
        store = videos.parent / 'elsewhere' / path.name
        store.parent.mkdir(exist_ok=True)
        shutil.copy(clip, store)
        path.symlink_to(store)
    else:
        shutil.copy(clip, path)
    return path


ROWS = [('abseiling', 'a'), ('abseiling', 'b'), ('air drumming', 'c')]


def kinetics_args(videos, table, out):
    return ('kinetics', 'train', videos, table, '--data', 'kinetics400', '--out', out)


def test_a_folder_with_spaces_that_comes_later_leaves_videos_alone(clips, tmp_path):
    videos, table = kinetics(tmp_path, ROWS)
    for clip, name in zip(clips, 'ab'):
        add_clip(videos, clip, name, 'abseiling', link=True)
    out = tmp_path / 'out'
    prepare(*kinetics_args(videos, table, out))
    assert (out / 'videos_train').is_symlink()
    add_clip(videos, clips[2], 'c', 'air drumming')
    said = prepare(*kinetics_args(videos, table, out))
    assert '3 of 3 clips' in said and not (videos / 'air_drumming').exists()
    assert not (out / 'videos_train').is_symlink()
    for line, clip in zip(
        (out / 'kinetics400_train_list_videos.txt').read_text().splitlines(), clips
    ):
        assert (out / 'videos_train' / line.split()[0]).read_bytes() == clip.read_bytes()
    assert '3 of 3' in prepare(*kinetics_args(videos, table, out))
    assert not list(out.glob('.*'))


def test_other_settings_do_not_mix_with_what_is_there(clips, tmp_path):
    pytest.importorskip('imageio_ffmpeg')
    videos, table = kinetics(tmp_path, ROWS[:2])
    add_clip(videos, clips[0], 'a', 'abseiling')
    add_clip(videos, clips[1], 'b', 'abseiling', suffix='.mkv')
    out = tmp_path / 'out'
    prepare(*kinetics_args(videos, table, out))
    before = snapshot(out, times=False)
    done = call(*kinetics_args(videos, table, out), '--short-side', 64)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'short_side=null (wanted: 64)' in done.stderr and '--out' in done.stderr
    assert snapshot(out, times=False) == before
    prepare(*kinetics_args(videos, table, out))
    assert snapshot(out, times=False) == before
    other = tmp_path / 'other'
    prepare(*kinetics_args(videos, table, other), '--short-side', 64)
    names = [line.split()[0] for line in (other / 'kinetics400_train_list_videos.txt').open()]
    assert names == ['abseiling/a_000001_000011.mp4', 'abseiling/b_000001_000011.mp4']
    # What an earlier version left has no stamp: nobody knows how its copies were made.
    (out / 'settings_train.json').unlink()
    done = call(*kinetics_args(videos, table, out), '--short-side', 64)
    assert done.returncode == 2 and 'settings_train.json' in done.stderr


def test_videos_below_out_are_the_users(clips, tmp_path):
    """MMAction2's layout: VIDEOS is what OUT/videos_train would be."""
    pytest.importorskip('imageio_ffmpeg')
    videos, table = kinetics(tmp_path, ROWS)
    add_clip(videos, clips[0], 'a', 'abseiling')
    out = tmp_path / 'out'
    out.mkdir()
    videos = videos.rename(out / 'videos_train')
    assert '1 of 3' in prepare(*kinetics_args(videos, table, out))
    add_clip(videos, clips[2], 'c', 'air drumming')
    done = call(*kinetics_args(videos, table, out))
    assert done.returncode == 2 and 'not changed' in done.stderr
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'videos_train').symlink_to(videos)
    done = call(*kinetics_args(videos, table, other), '--short-side', 64)
    assert done.returncode == 2


@pytest.mark.parametrize(
    'name',
    [
        'label_map.txt',
        'kinetics400_train_list_videos.txt',
        'report_train.json',
        'checked_train.jsonl',
        'settings_train.json',
    ],
)
def test_a_link_out_of_the_output_is_not_followed(clips, tmp_path, name):
    videos, table = kinetics(tmp_path, ROWS[:1])
    add_clip(videos, clips[0], 'a', 'abseiling')
    out, precious = tmp_path / 'out', tmp_path / 'precious.txt'
    out.mkdir()
    precious.write_text('{"mine": 1}' if name.endswith('.json') else 'abseiling\n')
    (out / name).symlink_to(precious)
    before = snapshot(precious)
    done = call(*kinetics_args(videos, table, out))
    assert done.returncode == 2 and str(precious) in done.stderr
    assert snapshot(precious) == before


def test_a_csv_of_excel_is_read(clips, tmp_path):
    videos, table = kinetics(tmp_path, ROWS[:1], encoding='utf-8-sig')
    add_clip(videos, clips[0], 'a', 'abseiling')
    assert '1 of 1' in prepare(*kinetics_args(videos, table, tmp_path / 'out'))
    table.write_text('label,youtube_id,time_start,time_end\n', encoding='utf-16')
    done = call(*kinetics_args(videos, table, tmp_path / 'other'))
    assert done.returncode == 2 and 'UTF-8' in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'other').exists()


def test_links_in_a_circle_end(clips, tmp_path):
    videos, table = kinetics(tmp_path, ROWS[:2])
    add_clip(videos, clips[0], 'a', 'abseiling')
    (videos / 'loop').symlink_to('..')
    (videos / 'abseiling/again').symlink_to(videos)
    (videos / 'a second name').symlink_to(videos / 'abseiling')
    assert list(find_videos(videos)) == ['abseiling/a_000001_000011.mp4']
    assert '1 of 2' in prepare(*kinetics_args(videos, table, tmp_path / 'out'))


def test_a_dangling_link_is_a_broken_video(clips, tmp_path):
    videos, table = kinetics(tmp_path, ROWS[:2])
    add_clip(videos, clips[0], 'a', 'abseiling')
    (videos / 'abseiling/b_000001_000011.mp4').symlink_to(tmp_path / 'gone.mp4')
    out = tmp_path / 'out'
    assert '1 of 2' in prepare(*kinetics_args(videos, table, out))
    broken = json.loads((out / 'report_train.json').read_text())['broken']
    assert broken == {'b_000001_000011': f'a link to {tmp_path / "gone.mp4"}, which is not there'}


@pytest.mark.slow
def test_a_probe_that_hangs_is_a_broken_video(clips, tmp_path):
    pipe = tmp_path / 'hangs.avi'
    os.mkfifo(pipe)
    videos = {'a': clips[0], 'hangs': pipe, 'b': clips[1], 'c': clips[2], 'd': clips[3]}
    probed = probing.probe_all(videos, tmp_path / 'log.jsonl', 1, seconds=5)
    assert 'did not end within 5 s' in probed['hangs']['reason']
    assert all(probed[name]['state'] == 'ok' for name in 'abcd')


def test_wrong_arguments_bind_no_later_run(ucf, tmp_path):
    out = tmp_path / 'out'
    done = call('ucf101', ucf / 'UCF-101', ucf / 'UCF-101', '--out', out)
    assert done.returncode == 2 and 'classInd.txt' in done.stderr
    done = call('ucf101', ucf / 'UCF-101', ucf / 'splits', '--out', out, '--classes', 'Absent')
    assert done.returncode == 2 and 'Absent' in done.stderr
    prepare('ucf101', ucf / 'UCF-101', ucf / 'splits', '--out', out, '--classes', 'Punch')
    done = call('ucf101', ucf / 'UCF-101', ucf / 'splits', '--out', out)
    assert done.returncode == 2 and 'classes=["Punch"] (wanted: null)' in done.stderr


def test_two_at_once(ucf, tmp_path):
    from cnnlstm_mm.storage import locked

    with locked(tmp_path, 'prepare_ucf101'):
        done = call('ucf101', ucf / 'UCF-101', ucf / 'splits', '--out', tmp_path)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert f'in use by prepare_ucf101 (process {os.getpid()} on' in done.stderr
    assert not os.listdir(tmp_path)


def test_the_report_is_named_below_the_clips(tmp_path, capsys):
    report = dict(clips=2, classes=1, missing=['a'], broken={'b': 'no frames'}, extra=[], short={})
    preparation.write_report(report, OutputFolder(tmp_path), 'report.json')
    said = capsys.readouterr().out
    assert '  a\n' in said and '  b (no frames)\n' in said
    assert said.endswith(f'Report: {tmp_path / "report.json"}\n')
    assert json.loads((tmp_path / 'report.json').read_text()) == report
