"""Folders of frames: the same samples as upstream, checked lists, broken frames, features."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from cnnlstm_mm.datasets import CheckedRawframeDataset
from cnnlstm_mm.datasets.replacing import BrokenSampleError
from mmaction.datasets import RawframeDataset

PIPELINE = [
    dict(type='SampleFrames', clip_len=4, test_mode=True),
    dict(type='RawFrameDecode'),
    dict(type='Resize', scale=(24, 24), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture
def data(tmp_path):
    """Three folders of 6 frames, and their list."""
    rng = np.random.default_rng(0)
    for name in 'abc':
        (tmp_path / name).mkdir()
        for k in range(1, 7):
            image = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / name / f'img_{k:05}.jpg'), image)
    (tmp_path / 'list.txt').write_text('a 6 0\nb 5 1\n\nc 6 2\n')
    return tmp_path


def build(data, kind=CheckedRawframeDataset, **options):
    return kind(str(data / 'list.txt'), PIPELINE, data_prefix=dict(img=str(data)), **options)


def test_samples_are_those_of_upstream(data):
    (data / 'list.txt').write_text('a 6 0\nb 5 1\nc 6 2\n')
    ours, theirs = build(data), build(data, RawframeDataset)
    assert len(ours) == len(theirs) == 3
    for one, two in zip(ours, theirs):
        assert torch.equal(one['inputs'], two['inputs'])
        assert one['data_samples'].gt_label == two['data_samples'].gt_label
    (data / 'list.txt').write_text('a 2 4 0 2\nb 0 5 1\n')
    options = dict(with_offset=True, multi_class=True, num_classes=3)
    ours, theirs = build(data, **options), build(data, RawframeDataset, **options)
    for one, two in zip(ours, theirs):
        assert torch.equal(one['inputs'], two['inputs'])
        assert torch.equal(one['data_samples'].gt_label, two['data_samples'].gt_label)


@pytest.mark.parametrize(
    'text, kind, match',
    [
        ('a 6 0\nd 6 0\n', FileNotFoundError, 'line 2: .*d is not there\nfix: set data_prefix'),
        ('a 9 0\n', ValueError, 'line 1: .*a lacks img_00009.jpg, it holds 6 files\nfix: '),
        ('a six 0\n', ValueError, 'line 1: .* is not "folder total_frames label"'),
        ('a\n', ValueError, 'line 1: .* is not "folder total_frames label"'),
        ('a 6 0 1\n', ValueError, 'line 1: .* has 2 labels'),
        ('a 0 1\n', ValueError, 'line 1: .* is not'),
        ('\n', ValueError, 'expected lines in .*list.txt, got none'),
    ],
)
def test_lists_are_checked(data, text, kind, match):
    (data / 'list.txt').write_text(text)
    with pytest.raises(kind, match=match):
        build(data)


@pytest.mark.parametrize('content', [b'', b'no picture'])
def test_a_broken_frame_is_named(data, content):
    for number in (2, 3, 4):  # whichever the clip takes
        (data / 'b' / f'img_{number:05}.jpg').write_bytes(content)
    dataset = build(data)
    with pytest.raises(BrokenSampleError, match=r'/b: '):
        dataset.read(1)
    sample = dataset.prepare_data(1)
    assert sample['data_samples'].broken[0][0].endswith('/b')


def test_labels_of_the_list_are_checked_before_a_run(data):
    from cnnlstm_mm.engine.launch import check_files

    dataset = dict(
        type='CheckedRawframeDataset',
        ann_file=str(data / 'list.txt'),
        data_prefix=dict(img=str(data)),
    )
    model = dict(cls_head=dict(num_classes=3))
    check_files(Config(dict(model=model, train_dataloader=dict(dataset=dataset))), ['train'])
    model['cls_head']['num_classes'] = 2
    with pytest.raises(ValueError, match='line 4: label 2 of c'):
        check_files(Config(dict(model=model, train_dataloader=dict(dataset=dataset))), ['train'])
