"""The built-in data set: layout, bytes, and that only the order tells."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.support import load_tool, run_python, run_tool

from cnnlstm_mm.commands.prepare.scenes import STEPS

TOOL = 'tools/data/make_quickstart.py'
qs = load_tool(TOOL)
SETTINGS = qs.Settings(train_per_class=24, val_per_class=12, size=64)


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('quickstart')
    assert qs.make_quickstart(out, SETTINGS, workers=2) == 8 * 36
    return out


def read_list(data: Path, split: str) -> list:
    lines = (data / f'quickstart_{split}_split_1_videos.txt').read_text()
    return [(path, int(label)) for path, label in (line.split(' ') for line in lines.splitlines())]


def decode(path: Path) -> np.ndarray:
    """Read all frames with decord, uint8 [T, H, W, 3]."""
    decord = pytest.importorskip('decord')
    reader = decord.VideoReader(str(path))
    return reader.get_batch(range(len(reader))).asnumpy()


@pytest.fixture(scope='module')
def videos(data) -> dict:
    """split -> (clips [N, T, H, W, 3] uint8, labels [N])."""
    splits = {}
    for split in ('train', 'val'):
        listed = read_list(data, split)
        clips = np.stack([decode(data / 'videos' / path) for path, _ in listed])
        splits[split] = clips, np.array([label for _, label in listed])
    return splits


def contents(folder: Path) -> dict:
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()
    }


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_workers(data, tmp_path):
    qs.make_quickstart(tmp_path / 'again', SETTINGS, workers=1)
    assert contents(tmp_path / 'again') == contents(data)

    qs.make_quickstart(tmp_path / 'other', SETTINGS._replace(seed=1), 2)
    first, other = contents(data), contents(tmp_path / 'other')
    same = [path for path in first if path.suffix == '.avi' and first[path] == other[path]]
    assert first.keys() == other.keys() and not same


def test_lists_and_layout_are_ucf101s(data):
    names = (data / 'label_map.txt').read_text().splitlines()
    assert names == qs.CLASSES and len(set(names)) == 8
    groups = {}
    for split, count in (('train', 24), ('val', 12)):
        listed = read_list(data, split)
        assert Counter(label for _, label in listed) == dict.fromkeys(range(8), count)
        for path, label in listed:
            folder, stem = path.split('/')
            assert folder == names[label]
            assert stem.startswith(f'v_{folder}_g')
            assert (data / 'videos' / path).is_file()
        groups[split] = {path.split('_g')[1][:3] for path, _ in listed}
    assert not groups['train'] & groups['val']


def test_mmaction2_reads_it(data):
    pytest.importorskip('decord')
    import cnnlstm_mm  # noqa: F401
    from mmaction.datasets import VideoDataset

    dataset = VideoDataset(
        ann_file=str(data / 'quickstart_val_split_1_videos.txt'),
        data_prefix=dict(video=str(data / 'videos')),
        pipeline=[
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=16, num_clips=1),
            dict(type='DecordDecode'),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
        test_mode=True,
    )
    assert len(dataset) == 8 * 12
    sample = dataset[9]
    assert sample['inputs'].shape == (1, 3, 16, 64, 64)
    assert sample['data_samples'].gt_label.item() == 1


def test_decord_gives_every_frame_that_was_drawn(data):
    drawn = qs.render(1, SETTINGS)
    for name in qs.CLASSES:
        frames = decode(data / 'videos' / qs.video_path(name, 1))
        wanted = np.stack([drawn[o] for o in qs.offsets(name, SETTINGS)])
        assert frames.shape == wanted.shape
        error = np.abs(frames[..., ::-1].astype(int) - wanted)
        distance = np.abs(frames[:, None, ..., ::-1].astype(int) - wanted).mean((2, 3, 4))
        assert error.mean() < 8
        assert (distance.argmin(1) == np.arange(16)).all()


def test_all_classes_hold_the_same_decoded_frames(data):
    orders = set()
    for name in qs.CLASSES:
        frames = decode(data / 'videos' / qs.video_path(name, 2))
        orders.add(tuple(frame.tobytes() for frame in frames))
    assert len(orders) == 8
    assert len({frozenset(Counter(order).items()) for order in orders}) == 1


def test_position_at_each_time_is_the_same_in_law():
    """A shape starts anywhere, and so is anywhere at every later time."""
    size = SETTINGS.size
    starts = {(y, x) for y in range(size) for x in range(size)}
    for name in qs.CLASSES:
        for dy, dx in qs.offsets(name, SETTINGS):
            assert {((y + dy) % size, (x + dx) % size) for y, x in starts} == starts


def test_reversed_video_is_the_opposite_class():
    opposite = dict(Right='Left', Left='Right', Up='Down', Down='Up')
    for name in qs.CLASSES:
        first, second = name.split('Then')
        reverse = f'{opposite[second]}Then{opposite[first]}'
        assert reverse != name
        assert qs.offsets(name, SETTINGS)[::-1] == qs.offsets(reverse, SETTINGS)


def probe(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, labels: np.ndarray
) -> float:
    """Top-1 of ridge regression on [N, features] to one-hot labels."""
    mean, scale = train.mean(0), train.std(0) + 1e-6
    train, test = (train - mean) / scale, (test - mean) / scale
    gram = train @ train.T + 10 * np.eye(len(train))
    dual = np.linalg.solve(gram, np.eye(8)[train_labels] - 1 / 8)
    return float(((test @ train.T @ dual).argmax(1) == labels).mean())


def small(clips: np.ndarray) -> np.ndarray:
    """[..., 64, 64, 3] uint8 to [..., 192] float means over 8x8 cells."""
    cells = clips.reshape(*clips.shape[:-3], 8, 8, 8, 8, 3)
    return cells.mean((-4, -2)).reshape(*clips.shape[:-3], -1)


@pytest.mark.parametrize('time', [0, 7, 8, 15])
def test_one_frame_tells_nothing(videos, time):
    frames = {s: small(clips[:, time]) for s, (clips, _) in videos.items()}
    accuracy = probe(frames['train'], videos['train'][1], frames['val'], videos['val'][1])
    assert accuracy < 0.25  # chance is 0.125, four standard errors 0.135


def test_the_mean_frame_tells_nothing(videos):
    frames = {s: small(clips).mean(1) for s, (clips, _) in videos.items()}
    accuracy = probe(frames['train'], videos['train'][1], frames['val'], videos['val'][1])
    assert accuracy == pytest.approx(0.125)


def test_the_probe_sees_a_leak(videos):
    """A faint mark of the class in each frame would fail the tests above."""
    leaky = {}
    for split, (clips, labels) in videos.items():
        frames = small(clips[:, 0])
        frames[np.arange(len(labels)), labels] += 60
        leaky[split] = frames
    accuracy = probe(leaky['train'], videos['train'][1], leaky['val'], videos['val'][1])
    assert accuracy > 0.4


def test_motion_tells_the_class(videos):
    """Following the difference of frames finds it, without any training."""
    clips, labels = videos['val']
    hits = []
    for clip, label in zip(clips[:32].astype(np.float32), labels):
        still = np.median(clip, axis=0)
        moving = np.abs(clip - still).sum(-1)  # [T, H, W]
        step = 2 * SETTINGS.size // SETTINGS.frames
        halves = []
        for start in (0, 8):
            now, then = moving[start + 1 : start + 8], moving[start : start + 7]
            overlap = {
                d: (np.roll(then, np.multiply(step, yx), (1, 2)) * now).sum()
                for d, yx in STEPS.items()
            }
            halves.append(max(overlap, key=overlap.get))
        hits.append('Then'.join(halves) == qs.CLASSES[label])
    assert np.mean(hits) > 0.8


def test_an_interrupted_run_is_completed(data, tmp_path):
    settings = SETTINGS._replace(train_per_class=1, val_per_class=1)
    assert qs.make_quickstart(tmp_path, settings) == 16
    whole = contents(tmp_path)
    assert qs.make_quickstart(tmp_path, settings) == 0
    gone = sorted(tmp_path.rglob('*.avi'))[5]
    gone.unlink()
    (gone.parent / f'.{gone.name}.123.part.avi').write_bytes(b'half a video')
    assert qs.make_quickstart(tmp_path, settings) == 1
    assert contents(tmp_path) == whole


def test_another_data_set_is_kept_unless_asked(tmp_path):
    settings = qs.Settings(train_per_class=1, val_per_class=1, size=32)
    qs.make_quickstart(tmp_path, settings)
    other = settings._replace(seed=5)
    with pytest.raises(FileExistsError, match=r'seed=0 \(wanted: 5\)'):
        qs.make_quickstart(tmp_path, other)
    assert qs.make_quickstart(tmp_path, other, overwrite=True) == 16

    foreign = tmp_path / 'foreign'
    (foreign / 'videos').mkdir(parents=True)
    with pytest.raises(FileExistsError, match='expected a folder that this tool made, got'):
        qs.make_quickstart(foreign, settings, overwrite=True)


@pytest.mark.parametrize(
    'wrong, message',
    [
        (['--size', '50'], 'multiple of 32 (decord pads others) and of frames (16), got 50'),
        (['--frames', '7'], 'even and at least 4, got 7'),
        (['--val-per-class', '0'], 'at least 1, got 160 and 0'),
        (['--seed', '-1'], 'expected a seed of at least 0, got -1'),
    ],
)
def test_wrong_arguments_are_named(tmp_path, wrong, message):
    result = run_tool(TOOL, '--out', tmp_path / 'no', *wrong)
    assert result.returncode == 2
    assert message in result.stderr and 'Traceback' not in result.stderr
    assert not (tmp_path / 'no').exists()


def test_the_command_says_what_it_made(tmp_path):
    for run, written in ((run_python, 16), (run_tool, 0)):
        result = run(TOOL, '--out', tmp_path, '--train-per-class', 1, '--val-per-class', 1)
        assert result.returncode == 0, result.stderr
        assert f'16 videos, {written} written now, {16 - written} found' in ' '.join(
            result.stdout.split()
        )
    assert (tmp_path / 'preview.png').stat().st_size > 10_000
