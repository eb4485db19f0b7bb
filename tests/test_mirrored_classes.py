"""Classes that a flip turns into each other, by their names."""

import json

import numpy as np
import pytest
from helpers.support import examine_configs_alone, run_tool
from mmengine.config import Config

from cnnlstm_mm.engine import launch
from cnnlstm_mm.engine.launch import apply_flip_labels
from cnnlstm_mm.features.config import fingerprint
from cnnlstm_mm.mirrored_classes import flip_label_map, flip_warning, unpaired
from mmaction.registry import TRANSFORMS


@pytest.mark.parametrize(
    'left, right',
    [
        ('Swiping Left', 'Swiping Right'),
        ('swipe_left', 'swipe_right'),
        ('turnLeft', 'turnRight'),
        ('Pushing something from left to right', 'Pushing something from right to left'),
        ('Turning Hand Clockwise', 'Turning Hand Counterclockwise'),
        ('clockwise', 'counter-clockwise'),
        ('rotate_clockwise', 'rotate_counter_clockwise'),
        ('circle clockwise', 'circle anticlockwise'),
        ('circle clock-wise', 'circle Anti-Clockwise'),
        ('spin CW', 'spin CCW'),
        ('move leftwards', 'move rightwards'),
    ],
)
def test_pairs(left, right):
    names = ['upright', left, 'bright', right, 'left over']
    assert flip_label_map(names) == {1: 3, 3: 1}
    assert unpaired(names) == ['left over']


def test_no_pairs():
    assert flip_label_map(['run', 'walk', 'turn left', 'left', 'turn up', 'turn down']) == {}
    assert flip_label_map(['turn left', 'turn right', 'up', 'down'], 'vertical') == {2: 3, 3: 2}
    assert flip_label_map([]) == {}


def config(folder, names=('wave', 'swipe left', 'swipe right'), multi_class=False, **flip):
    if names:
        (folder / 'label_map.txt').write_text('\n'.join(names) + '\n')
    (folder / 'train.txt').write_text('a.mp4 0\n')
    inner = dict(
        type='CheckedVideoDataset',
        ann_file=str(folder / 'train.txt'),
        multi_class=multi_class,
        pipeline=[dict(type='DecordInit'), dict(type='Flip', **flip)],
    )
    loader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=inner))
    return Config(dict(train_dataloader=loader))


def test_from_names_becomes_a_map_of_numbers(tmp_path):
    cfg = config(tmp_path, flip_ratio=1.0, flip_label_map='from_names')
    apply_flip_labels(cfg, ['train'])
    cfg.dump(tmp_path / 'dumped.py')  # as a Runner does
    cfg = Config.fromfile(tmp_path / 'dumped.py')
    flip = TRANSFORMS.build(cfg.train_dataloader.dataset.dataset.pipeline[1])
    image = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    for label, mirrored in enumerate([0, 2, 1]):
        view = dict(imgs=[image.copy()], modality='RGB', img_shape=(1, 2), label=label)
        assert flip(view)['label'] == mirrored
        assert np.array_equal(view['imgs'][0], image[:, ::-1])


@pytest.mark.parametrize(
    'given, words',
    [
        (dict(names=None), 'got no label_map.txt'),
        (dict(names=['run', 'walk']), 'got run, walk; fix'),
        (dict(multi_class=True), 'one label for each video'),
    ],
)
def test_from_names_without_pairs_is_refused(given, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        apply_flip_labels(config(tmp_path, flip_label_map='from_names', **given))


@pytest.mark.parametrize(
    'flip, warns',
    [
        (dict(), True),
        (dict(flip_ratio=0.5), True),
        (dict(flip_ratio=0), False),
        (dict(flip_label_map={1: 2, 2: 1}), False),
        (dict(flip_label_map='from_names'), False),
        (dict(direction='vertical'), False),
        (dict(names=['run', 'walk']), False),
        (dict(names=None), False),
    ],
)
def test_a_plain_flip_warns_where_names_pair(flip, warns, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(launch, 'print_log', lambda text, *_: logged.append(text))
    cfg = config(tmp_path, **flip)
    launch.apply_flip_labels(cfg, ['test'])
    assert not logged
    launch.apply_flip_labels(cfg, ['train'])
    assert len(logged) == warns == bool(flip_warning(cfg))
    assert all('labels: swipe left and swipe right; fix:' in line for line in logged)


def test_a_store_of_features_belongs_to_the_config_as_it_is_written(tmp_path):
    cfg = config(tmp_path, flip_label_map='from_names')
    cfg.model = dict(backbone=dict(type='X'), data_preprocessor=dict(type='Y'))
    resolved = cfg.copy()
    apply_flip_labels(resolved)
    assert fingerprint(cfg) == fingerprint(resolved)
    assert json.dumps(fingerprint(cfg))  # a manifest


@pytest.mark.slow
def test_the_doctor_warns(tmp_path, monkeypatch):
    cfg = config(tmp_path, flip_ratio=0.5)
    (tmp_path / 'a.mp4').write_bytes(b'not read')
    cfg.train_dataloader.dataset.dataset.data_prefix = dict(video=str(tmp_path))
    cfg.custom_imports = dict(imports=['cnnlstm_mm'])
    cfg.train_dataloader.dataset.dataset.pipeline = [dict(type='mmaction.Flip', flip_ratio=0.5)]
    cfg.model = dict(type='Recognizer3D')
    cfg.dump(tmp_path / 'config.py')
    examine_configs_alone(monkeypatch)
    done = run_tool('tools/doctor.py', tmp_path / 'config.py', '--json')
    results = json.loads(done.stdout[: done.stdout.rindex(']') + 1])
    (row,) = [r for r in results if r['name'].startswith('flips of')]
    assert row['state'] == 'warning' and 'swipe left and swipe right' in row['found']
    assert "flip_label_map='from_names'" in row['cure']
