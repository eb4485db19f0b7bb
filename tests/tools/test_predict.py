"""tools/predict.py beside tools/test.py: scores, inputs, names, broken files and restarts."""

import csv
import json
import os
import pickle
import signal

import cv2
import pytest
import torch
from helpers.list_matrix import prepare
from helpers.stream_models import build
from helpers.support import ROOT, load_tool, process_state, run_python, run_tool, without_coverage
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cnnlstm_mm.datasets.checked_video_dataset import CheckedReading
from cnnlstm_mm.prediction import answers as answer_files

CONFIG = 'configs/mobilenet_convlstm_quickstart.py'
TOOL = 'tools/predict.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    init_default_scope('mmaction')
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model') / 'model.pth'
    torch.save(build(Config.fromfile(ROOT / CONFIG)).state_dict(), path)
    return path


@pytest.fixture(scope='module')
def videos(quickstart_data):
    return sorted((quickstart_data / 'videos').rglob('*.avi'))[:5]


@pytest.fixture
def folder(videos, tmp_path):
    """A folder with three videos, one of them below it, and a file of another kind."""
    for path, name in zip(videos, ('b.avi', 'below/a clip.avi', 'c.AVI')):
        target = tmp_path / 'clips' / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / 'clips/notes.md').write_text('no video')
    return tmp_path / 'clips'


def predict(checkpoint, *args, code=0, config=CONFIG, options=()):
    cfg = ['--cfg-options', 'test_dataloader.num_workers=0', *options]
    done = run_tool(TOOL, config, checkpoint, *args, *cfg)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def answers(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(set(line) == {'file', 'topk'} for line in lines)
    return {line['file']: line['topk'] for line in lines}


def data(quickstart_data, ann_file):
    return [
        f'test_dataloader.dataset.ann_file={ann_file}',
        f'test_dataloader.dataset.data_prefix.video={quickstart_data}/videos',
    ]


def dumped(checkpoint, tmp_path, config=CONFIG, options=()):
    """Scores of tools/test.py."""
    done = run_tool(
        *('tools/test.py', config, checkpoint, '--work-dir', tmp_path / 'work'),
        *('--dump', tmp_path / 'scores.pkl', '--cfg-options', *options),
        *('test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False'),
    )
    assert done.returncode == 0, done.stderr
    return [one['pred_score'] for one in pickle.loads((tmp_path / 'scores.pkl').read_bytes())]


def check_scores(found, wanted):
    assert len(found) == len(wanted) > 0
    for best, scores in zip(found, wanted):
        assert [one['label'] for one in best] == scores.argsort(descending=True).tolist()
        for one in best:
            assert one['score'] == pytest.approx(float(scores[one['label']]), abs=1e-6)


def test_the_scores_are_those_of_a_test(checkpoint, quickstart_data, tmp_path):
    source = quickstart_data / 'quickstart_val_split_1_videos.txt'
    lines = source.read_text().splitlines()[::-3]
    own = quickstart_data / 'own.txt'
    own.write_text('\n'.join(lines))
    options = data(quickstart_data, own)
    wanted = dumped(checkpoint, tmp_path, options=options)
    assert max(abs(wanted[0] - wanted[1])) > 1e-3
    done = predict(
        checkpoint,
        *(own, '--topk', 8, '--batch-size', 4, '--csv', tmp_path / 'new/a.csv'),
        *('--jsonl', tmp_path / 'new/a.jsonl'),
        options=options,
    )
    found = answers(tmp_path / 'new/a.jsonl')
    names = [f'{quickstart_data}/videos/{line.split()[0]}' for line in lines]
    assert list(found) == names
    check_scores(list(found.values()), wanted)

    labels = (quickstart_data / 'label_map.txt').read_text().split('\n')
    header, *rows = csv.reader((tmp_path / 'new/a.csv').read_text().splitlines())
    assert header[:4] == ['file', 'rank1_class', 'rank1_score', 'rank2_class']
    assert len(header) == 17 and [row[0] for row in rows] == names
    for row, best, line in zip(rows, found.values(), done.stdout.splitlines()):
        assert row[1::2] == [one['class'] for one in best]
        assert row[1::2] == [labels[one['label']] for one in best]
        assert list(map(float, row[2::2])) == [one['score'] for one in best]
        assert line.split()[:3] == [row[0], row[1], f'{best[0]["score"]:.4f}']
    assert len(done.stdout.splitlines()) == len(names)


def test_folders_of_frames(tmp_path):
    place = prepare('frame folders', tmp_path)
    wanted = dumped(place.checkpoint, tmp_path, place.config)
    for given in (place.folder / 'frames', place.folder / 'list.txt'):
        predict(place.checkpoint, given, '--jsonl', tmp_path / 'a.jsonl', config=place.config)
        found = answers(tmp_path / 'a.jsonl')
        assert list(found) == [str(place.folder / f'frames/clip{k}') for k in range(6)]
        check_scores(list(found.values()), wanted)
        assert {one['class'] for one in found[str(place.folder / 'frames/clip0')]} == {
            *('Jump', 'Run', 'Wave')
        }
        (tmp_path / 'a.jsonl').unlink()
    done = predict(place.checkpoint, place.folder / 'videos/clip0.avi', config=place.config, code=2)
    assert 'img_{:05}.jpg' in done.stderr and 'videos/clip0.avi' in done.stderr


def test_the_index_beside_a_list(checkpoint, quickstart_data, tmp_path):
    """What prepare_*.py found out of a clip counts, as in a test."""
    from cnnlstm_mm.datasets.clip_index import write_index

    (tmp_path / 'list.txt').write_text(
        (quickstart_data / 'quickstart_val_split_1_videos.txt').read_text()
    )
    rows = [line.split() for line in (tmp_path / 'list.txt').read_text().splitlines()]
    write_index(
        tmp_path / 'clips.sqlite',
        os.path.relpath(quickstart_data / 'videos', tmp_path),
        {'list.txt': [(path, int(label)) for path, label in rows]},
        {path: dict(frames=9) for path, _ in rows},
    )
    options = data(quickstart_data, tmp_path / 'list.txt')
    wanted = dumped(checkpoint, tmp_path, options=options)
    args = (tmp_path / 'list.txt', '--topk', 8, '--jsonl', tmp_path / 'a.jsonl')
    predict(checkpoint, *args, options=options)
    check_scores(list(answers(tmp_path / 'a.jsonl').values()), wanted)


@pytest.mark.slow
def test_files_folders_patterns_and_lists(checkpoint, folder, tmp_path):
    names = [str(folder / name) for name in ('b.avi', 'below/a clip.avi', 'c.AVI')]
    (tmp_path / 'bare.txt').write_text('clips/b.avi\nclips/below/a clip.avi\n\nclips/c.AVI\n')
    (tmp_path / 'table.csv').write_text(
        'id,path\n1,clips/b.avi\n2,"clips/below/a clip.avi"\n3,clips/c.AVI\n'
    )
    (tmp_path / 'clips/labelled.txt').write_text('b.avi 3\nc.AVI 99\n')
    first = {}
    for number, (given, wanted) in enumerate(
        [
            ([folder], names),
            ([folder / '**'], names),
            ([folder / '*.avi', folder], names),
            (names[::-1], names[::-1]),
            ([tmp_path / 'bare.txt'], names),
            ([tmp_path / 'table.csv'], names),
            ([folder / 'labelled.txt', names[0]], names[::2]),
        ]
    ):
        path = tmp_path / f'{number}.jsonl'
        predict(checkpoint, *given, '--topk', 2, '--jsonl', path)
        found = answers(path)
        assert list(found) == wanted
        first = first or found
        for name, best in found.items():
            assert len(best) == 2
            assert best == [
                dict(one, score=pytest.approx(one['score'], abs=1e-6)) for one in first[name]
            ]


def test_broken_files_are_named_and_the_others_answered(checkpoint, folder, tmp_path):
    (folder / 'a.mp4').write_bytes(b'no video')
    (folder / 'empty.avi').touch()
    (tmp_path / 'list.txt').write_text('clips/b.avi\nclips/gone.avi 3\n')
    args = (folder, tmp_path / 'list.txt', '--jsonl', tmp_path / 'a.jsonl')
    done = predict(checkpoint, *args, '--csv', tmp_path / 'a.csv', code=3)
    prefix = Config.fromfile(ROOT / CONFIG).test_dataloader.dataset.data_prefix.video
    broken = [line for line in done.stderr.splitlines() if line.startswith('BROKEN ')]
    assert [line.split(':')[0][7:] for line in broken] == [
        *(str(folder / 'a.mp4'), str(folder / 'empty.avi'), f'{prefix}/clips/gone.avi')
    ]
    assert '0 bytes' in broken[1] and 'gone.avi' in broken[2]
    assert '3 of 6 files could not be read' in done.stderr
    assert len(answers(tmp_path / 'a.jsonl')) == len(done.stdout.splitlines()) == 3
    assert len((tmp_path / 'a.csv').read_text().splitlines()) == 4


def test_a_second_run_goes_on(checkpoint, folder, tmp_path):
    path = tmp_path / 'a.jsonl'
    predict(checkpoint, folder / 'b.avi', '--jsonl', path)
    (name,) = answers(path)
    marked = path.read_text().replace('"score": 0.', '"score": 7.')
    path.write_text(marked)
    done = predict(checkpoint, folder, '--jsonl', path, '--csv', tmp_path / 'a.csv')
    assert '1 of 3 files are answered' in done.stderr
    assert path.read_text().startswith(marked) and len(answers(path)) == 3
    assert answers(path)[name][0]['score'] > 7
    assert len((tmp_path / 'a.csv').read_text().splitlines()) == 4
    # Another file of the same name is computed anew; answers of others stay.
    (folder / 'b.avi').write_bytes((folder / 'c.AVI').read_bytes())
    predict(checkpoint, folder / 'b.avi', '--jsonl', path)
    found = answers(path)
    assert len(found) == 3 and found[name] == found[str(folder / 'c.AVI')]


def test_an_interrupted_run_keeps_its_answers(checkpoint, folder, tmp_path, monkeypatch):
    tool = load_tool(TOOL)
    real = tool.predict

    def interrupted(*args):
        yield next(iter(real(*args)))
        raise KeyboardInterrupt

    args = [str(ROOT / CONFIG), str(checkpoint), str(folder), '--batch-size', '2']
    args += ['--workers', '0', '--jsonl', str(tmp_path / 'a.jsonl')]
    with monkeypatch.context() as patch, process_state():
        patch.setattr(tool, 'predict', interrupted)
        with pytest.raises(KeyboardInterrupt):
            tool.main(args)
    assert len(answers(tmp_path / 'a.jsonl')) == 2
    done = predict(checkpoint, folder, '--jsonl', tmp_path / 'a.jsonl')
    assert '2 of 3 files are answered' in done.stderr
    assert len(answers(tmp_path / 'a.jsonl')) == 3


def test_answers_of_other_settings_are_refused_by_name(checkpoint, folder, tmp_path):
    path = tmp_path / 'a.jsonl'
    args = (folder / 'b.avi', '--jsonl', path)
    predict(checkpoint, *args)
    before = path.read_text()
    other = tmp_path / 'other.pth'
    state = torch.load(checkpoint)
    state['cls_head.fc_cls.bias'] += 1
    torch.save(state, other)
    for call, word in (
        (dict(checkpoint=other), 'checkpoint_sha256='),
        (dict(options=['model.cls_head.average_clips=score']), 'model.cls_head.average_clips='),
        (dict(options=['model.neck.return_mode=last']), 'model.neck.return_mode="mean"'),
        (dict(args=['--topk', 3]), 'topk=5 (wanted: 3)'),
    ):
        done = predict(
            call.get('checkpoint', checkpoint),
            *(*args, *call.get('args', ())),
            options=call.get('options', ()),
            code=2,
        )
        assert word in done.stderr and 'a.jsonl was made with' in done.stderr
    # What only says how a run is done may change.
    predict(checkpoint, *args, '--batch-size', 1, options=['test_dataloader.batch_size=2'])
    path.write_text(before + '{"file": "b')  # a kill cut it short
    predict(checkpoint, *args)
    assert path.read_text() == before
    path.write_text(before + '{"file": "b\n')
    assert 'a.jsonl, line 2' in predict(checkpoint, *args, code=2).stderr
    (tmp_path / 'a.jsonl.settings.json').unlink()
    assert 'a.jsonl.settings.json' in predict(checkpoint, *args, code=2).stderr


def test_class_names(checkpoint, folder, tmp_path):
    def classes(*args, options=()):
        path = tmp_path / 'a.jsonl'
        done = predict(
            checkpoint, folder / 'b.avi', '--topk', 8, '--jsonl', path, *args, options=options
        )
        (best,) = answers(path).values()
        path.unlink()
        noted = 'classes are numbers' in done.stderr
        return [one['class'] for one in sorted(best, key=lambda one: one['label'])], noted

    # The quickstart's data may be where the config reads them.
    elsewhere = [f'data_root={tmp_path}/absent'] + [
        f'{mode}_dataloader.dataset.ann_file={tmp_path}/absent/list.txt'
        for mode in ('train', 'val', 'test')
    ]
    assert classes(options=elsewhere) == ([f'class {k}' for k in range(8)], True)
    (tmp_path / 'label_map.txt').write_text(''.join(f'beside {k}\n' for k in range(8)))
    beside = [f'test_dataloader.dataset.ann_file={tmp_path}/list.txt']
    assert classes(options=beside) == ([f'beside {k}' for k in range(8)], False)
    options = [*beside, 'test_dataloader.dataset.metainfo.classes=a,b,c,d,e,f,g,h']
    assert classes(options=options) == (list('abcdefgh'), False)
    (tmp_path / 'own.txt').write_text('\n'.join('stuvwxyz'))
    assert classes('--label-map', tmp_path / 'own.txt', options=options)[0] == list('stuvwxyz')
    (tmp_path / 'own.txt').write_text('one\n')
    done = predict(
        checkpoint, folder / 'b.avi', '--label-map', tmp_path / 'own.txt', code=2, options=options
    )
    assert 'own.txt names 1 classes, and the model has 8' in done.stderr


@pytest.mark.parametrize(
    'config, args, options, words',
    [
        (CONFIG, '{folder}/absent', [], 'got none in {folder}/absent'),
        (CONFIG, '{folder}/below/*.mp4', [], 'below/*.mp4'),
        (CONFIG, '{folder}/notes.md --device tpu9', [], 'device: expected cpu'),
        (CONFIG, '{folder}/gone.txt', [], 'none of its 2 files'),
        (CONFIG, '{folder}/twice.txt', [], 'line 1'),
        (CONFIG, '{folder} --csv {folder}', [], '--csv: expected a file'),
        (CONFIG, '{folder} --label-map absent.txt', [], '--label-map'),
        (CONFIG, '{folder} --every 0', [], '--every'),
        (CONFIG, '{folder} --timeline x', [], '--every SECONDS'),
        (CONFIG, '{folder} --every 1 --none-class walk', [], 'none_class'),
        (CONFIG, '{folder} --every 1 --activity absent.json', [], '--activity'),
        (CONFIG, '{folder}', ['model.cls_head.average_clips=None'], 'average_clips'),
        (CONFIG, '{folder}', ['model.neck.hidden_channels=8'], 'in_channels'),
        (CONFIG, '{folder}', ['features=store'], 'cnnlstm-mm merge'),
        (CONFIG, '{folder}', ['test_dataloader.dataset.type=AudioDataset'], 'AudioDataset'),
        ('configs/lstm_embeddings_quickstart.py', '{folder}', [], 'stored features'),
        ('configs/mobilenet_lstm_ucf101_mini10_features.py', '{folder}', [], 'stored features'),
        ('configs/mobilenet_avgpool_quickstart.py', '{folder}', [], 'does not fit the config'),
    ],
)
def test_what_is_refused(config, args, options, words, checkpoint, folder):
    (folder / 'gone.txt').write_text('x.avi\ny.avi\n')
    (folder / 'twice.txt').write_text('b.avi 1 2\n')
    done = predict(
        checkpoint, *args.format(folder=folder).split(), config=config, options=options, code=2
    )
    assert words.format(folder=folder) in done.stderr
    assert done.stderr.count('predict.py: error: ') == 1 and not done.stdout


@pytest.mark.slow
def test_as_a_process(checkpoint, folder, forks):
    """With a decoding process; standard output holds the table alone, or JSON lines."""
    args = (CONFIG, checkpoint, folder / 'b.avi', folder / 'c.AVI', '--workers', 1)
    done = run_python(TOOL, *args, '--topk', 1, '--jsonl', '/dev/stdout')
    assert done.returncode == 0, done.stderr
    *lines, first, second = done.stdout.splitlines()
    found = [json.loads(line)['topk'][0] for line in lines]
    assert [line.split()[0] for line in (first, second)] == [
        *(str(folder / 'b.avi'), str(folder / 'c.AVI'))
    ]
    assert [f'{one["score"]:.4f}' for one in found] == [
        line.split()[-1] for line in (first, second)
    ]


@pytest.mark.slow
def test_a_decoder_that_ends_its_process_is_named(checkpoint, folder, tmp_path, monkeypatch):
    read = CheckedReading._decode

    def dies(self, results):
        if results['filename'].endswith('c.AVI'):
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, results)

    monkeypatch.setattr(CheckedReading, '_decode', dies)
    args = (folder, '--workers', 1, '--batch-size', 1, '--jsonl', tmp_path / 'a.jsonl')
    with without_coverage():  # PyTorch's handler of SIGCHLD raises
        done = predict(checkpoint, *args, code=2)
    assert str(folder / 'c.AVI') in done.stderr and '--jsonl' in done.stderr
    monkeypatch.undo()
    predict(checkpoint, *args)
    assert len(answers(tmp_path / 'a.jsonl')) == 3


def test_answers_are_written_at_once(tmp_path):
    """So that a killed run loses none."""
    path = tmp_path / 'new/a.jsonl'
    file = answer_files.AnswerFile(str(path), dict(topk=1))
    best = [{'class': 'a', 'label': 0, 'score': 1.0}]
    for count, name in enumerate(('a', 'rtsp://camera/s', 'ä b'), 1):
        file.add(name, best)
        assert len(answers(path)) == count
    # An address is asked again.
    again = answer_files.AnswerFile(str(path), dict(topk=1))
    assert again.answers == {'a': best, 'ä b': best}
    assert list(answers(path)) == ['a', 'ä b']


@pytest.fixture(scope='module')
def long(videos, tmp_path_factory):
    """Two videos cut together from clips of 2 s."""
    folder = tmp_path_factory.mktemp('long')
    for name, clips in (('one.avi', videos[:4]), ('below/two.avi', videos[3:5])):
        (folder / name).parent.mkdir(exist_ok=True)
        code = cv2.VideoWriter_fourcc(*'MJPG')
        writer = cv2.VideoWriter(str(folder / name), code, 8, (96, 96))
        for clip in clips:
            for image in pictures(clip):
                writer.write(image)
        writer.release()
    return folder


def pictures(path):
    capture = cv2.VideoCapture(str(path))
    images = []
    while (read := capture.read())[0]:
        images.append(read[1])
    return images


def test_a_timeline(checkpoint, long, tmp_path):
    (long / 'broken.mp4').write_bytes(b'no video')
    args = (long, '--every', 1, '--min-score', 0, '--jsonl', tmp_path / 'a.jsonl')
    args += ('--timeline', tmp_path / 'segments', '--out', tmp_path / 'drawn')
    done = predict(checkpoint, *args, '--csv', tmp_path / 'a.csv', code=3)
    assert f'BROKEN {long}/broken.mp4: ' in done.stderr
    lines = [json.loads(line) for line in (tmp_path / 'a.jsonl').read_text().splitlines()]
    assert [line['file'] for line in lines] == [f'{long}/below/two.avi', f'{long}/one.avi']
    rows = list(csv.DictReader((tmp_path / 'a.csv').read_text().splitlines()))
    assert [row['file'] for row in rows] == [one['file'] for one in lines for _ in one['segments']]
    for line, seconds in zip(lines, (4, 8)):
        segments = line['segments']
        assert segments[0]['start'] == 0 and segments[-1]['end'] == pytest.approx(seconds)
        assert all({*s} == {'start', 'end', 'class', 'score'} for s in segments)
        place = tmp_path / 'segments' / os.path.relpath(line['file'], long)
        assert json.loads(place.with_name(f'{place.name}.json').read_text()) == line
        text = place.with_name(f'{place.name}.srt').read_text()
        assert text.startswith('1\n00:00:00,000 --> 00:00:') and segments[0]['class'] in text
        assert text.count(' --> ') == len(segments)
        picture = cv2.imread(str(place.with_name(f'{place.name}.png')))
        assert picture is not None and picture.std() > 5
        drawn = pictures(tmp_path / 'drawn' / f'{os.path.relpath(line["file"], long)}.mp4')
        assert len(drawn) == 8 * seconds and drawn[0].shape == (480, 480, 3)
        original = cv2.resize(pictures(line['file'])[0], (480, 480))
        assert abs(drawn[0][:30].astype(int) - original[:30]).max() > 100  # the text
        assert abs(drawn[0][200:].astype(int) - original[200:]).mean() < 10
    header, *table = done.stdout.splitlines()[1:]
    assert header.split() == ['start', 'end', 'class', 'score']
    assert table[0].startswith('00:00:00.000  00:00:')

    # Started again it computes nothing, and writes what is missing.
    written = (tmp_path / 'a.jsonl').read_text().replace('"score": 0.', '"score": 0.9')
    (tmp_path / 'a.jsonl').write_text(written)
    (tmp_path / 'drawn/one.avi.mp4').unlink()
    done = predict(checkpoint, *args, code=3)
    assert '2 of 3 files are answered' in done.stderr and '0.9' in done.stdout
    assert (tmp_path / 'a.jsonl').read_text() == written
    assert (tmp_path / 'drawn/one.avi.mp4').is_file()
    done = predict(checkpoint, *args[:2], 2, *args[3:], code=2)
    assert 'every=1.0 (wanted: 2.0)' in done.stderr


def test_a_timeline_of_a_model_that_needs_whole_clips(checkpoint, long):
    options = ['model.neck.bidirectional=True']
    done = predict(checkpoint, long, '--every', 1, options=options, code=2)
    assert 'bidirectional' in done.stderr


@pytest.mark.parametrize('every', [(), ('--every', 1)])
def test_a_name_that_is_not_utf8_is_broken(checkpoint, folder, tmp_path, every):
    """OpenCV ends the process."""
    os.rename(folder / 'c.AVI', os.fsencode(folder / 'caf') + b'\xe9.avi')
    done = predict(checkpoint, folder, '--jsonl', tmp_path / 'a.jsonl', *every, code=3)
    assert 'caf' in done.stderr and 'expected a name in UTF-8, got ' in done.stderr
    assert '1 of 3 files could not be read' in done.stderr
    assert len((tmp_path / 'a.jsonl').read_text().splitlines()) == 2


def test_a_drawn_video_is_kept_for_its_own_file_and_answer_alone(checkpoint, folder, tmp_path):
    (folder / 'below/b.avi').write_bytes((folder / 'below/a clip.avi').read_bytes())
    out = tmp_path / 'drawn'
    args = '--jsonl', tmp_path / 'a.jsonl', '--out', out, '--topk', 1
    video, times = out / 'b.avi.mp4', []
    for source in (folder / 'b.avi', folder / 'b.avi', folder / 'below/b.avi'):
        predict(checkpoint, source, *args)
        times.append(video.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]
    predict(checkpoint, source, '--jsonl', tmp_path / 'b.jsonl', '--out', out, '--topk', 2)
    assert times[2] < video.stat().st_mtime_ns


def test_videos_with_their_answers(checkpoint, folder, tmp_path):
    predict(checkpoint, folder / 'b.avi', '--out', tmp_path, '--topk', 2)
    drawn = pictures(tmp_path / 'b.avi.mp4')
    assert len(drawn) == len(pictures(folder / 'b.avi'))


@pytest.mark.slow
def test_a_camera(checkpoint, camera, tmp_path):
    server = camera(200)
    address = server.address.replace('http://', 'http://me:secret@')
    args = (address, '--seconds', 0.5, '--jsonl', tmp_path / 'a.jsonl', '--topk', 8)
    done = predict(checkpoint, *args)
    assert 'secret' not in done.stdout + done.stderr + (tmp_path / 'a.jsonl').read_text()
    ((name, best),) = answers(tmp_path / 'a.jsonl').items()
    assert name == address.replace('secret', '***')
    assert sum(one['score'] for one in best) == pytest.approx(1, abs=1e-4)
    predict(checkpoint, *args[:3], '--every', 0.2, '--min-score', 0)
    done = predict(checkpoint, 'http://127.0.0.1:9/v', '--seconds', 0.5, code=3)
    assert 'BROKEN http://127.0.0.1:9/v: ' in done.stderr
