"""AddPauses: which frames are the clip's, what the others are, and labels."""

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

from cnnlstm_mm.datasets.pauses import pause
from mmaction.registry import TRANSFORMS

CLIP = [np.full((12, 16, 3), 10 * k + 1, np.uint8) for k in range(8)]


def sample():
    return dict(imgs=[image.copy() for image in CLIP], num_clips=1, clip_len=8, label=2)


def test_the_clip_is_whole_and_labelled():
    np.random.seed(0)
    add = TRANSFORMS.build(dict(type='AddPauses', none_class=5, length=14, none_ratio=0.3))
    befores, pauses = set(), 0
    for _ in range(200):
        out = add(sample())
        assert len(out['imgs']) == len(out['label']) == out['clip_len'] == 14
        assert {(i.shape, i.dtype) for i in out['imgs']} == {((12, 16, 3), np.dtype('uint8'))}
        kept = np.flatnonzero(out['label'] == 2)
        assert set(out['label'][np.setdiff1d(range(14), kept)]) == {5}
        if len(kept):
            befores.add(int(kept[0]))
            np.testing.assert_array_equal([out['imgs'][k] for k in kept], CLIP)
            assert np.ptp(kept) == 7
        pauses += not len(kept)
    assert befores == set(range(7)) and 40 < pauses < 80


def test_kinds_of_pauses():
    np.random.seed(0)
    picture = np.random.randint(256, size=(12, 16, 3), dtype=np.uint8)

    def pictures(kind):
        return np.concatenate([np.stack(pause(picture, 4, kind)).astype(float) for _ in range(60)])

    assert abs(np.median(pictures('frozen') - picture)) < 1
    assert pictures('black').mean() < 3
    assert 40 < pictures('flat').mean(axis=(1, 2, 3)).std() < 100
    noise = pictures('noise')
    assert 115 < noise.mean() < 140 and 60 < noise.std() < 85
    changes = np.abs(np.diff(noise, axis=0)).mean(axis=(1, 2, 3))
    assert (changes == 0).any() and np.median(changes) > 50  # some of it stands still
    assert pause(picture, 0) == []


def test_from_the_pipeline_to_the_loss():
    pipeline = Compose(
        [
            dict(type='AddPauses', none_class=3, length=10),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs', meta_keys=()),
        ]
    )
    packed = pipeline(sample())
    assert packed['inputs'].shape == (1, 3, 10, 12, 16)
    label = packed['data_samples'].gt_label
    assert label.shape == (10,) and label.dtype == torch.int64 and set(label.tolist()) <= {2, 3}


@pytest.mark.parametrize(
    'change, words',
    [(dict(num_clips=2), 'got 2 of 8 frames'), (dict(imgs=CLIP * 2), 'got 1 of 16 frames')],
)
def test_what_does_not_fit(change, words):
    add = TRANSFORMS.build(dict(type='AddPauses', none_class=5, length=14))
    with pytest.raises(ValueError, match=words):
        add(sample() | change)
