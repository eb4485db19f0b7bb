"""What a config says, asked in one place."""

import os
import subprocess
import sys

import pytest
import torch
from helpers.support import ROOT
from mmengine.config import Config

from cnnlstm_mm.config import (
    SPLIT_VARIABLE,
    datasets_of,
    drop_worker_options,
    innermost_datasets,
    list_path,
    named_weights,
    nested_dicts,
    read_config,
    read_labels,
    rows_of,
    test_pipeline,
)
from cnnlstm_mm.text import truncate_list
from cnnlstm_mm.weights import state_hash

test_pipeline.__test__ = False


def test_data_sets_in_others_of_any_depth():
    a, b, c = (dict(type='VideoDataset', ann_file=name) for name in 'abc')
    joined = dict(type='ConcatDataset', datasets=[a, dict(type='RepeatDataset', dataset=b), c])
    outer = dict(type='RepeatDataset', dataset=dict(type='ClassBalancedDataset', dataset=joined))
    assert innermost_datasets(outer) == [a, b, c]
    cfg = Config(dict(train_dataloader=dict(dataset=outer), val_dataloader=None))
    assert [data['ann_file'] for data in datasets_of(cfg, 'train')] == ['a', 'b', 'c']
    assert datasets_of(cfg, 'val') == datasets_of(cfg, 'test') == []


def test_rows_are_read_as_the_data_set_reads_them(tmp_path):
    (tmp_path / 'list.txt').write_text('my clip.avi\t3\t4\n')
    dataset = dict(
        type='VideoDataset',
        ann_file='list.txt',
        data_root=str(tmp_path),
        delimiter='\t',
        multi_class=True,
    )
    assert list_path(dataset) == str(tmp_path / 'list.txt')
    assert rows_of(dataset) == [(1, 'my clip.avi', [3, 4])]
    with pytest.raises(ValueError, match='2 labels'):
        rows_of(dict(dataset, multi_class=False))
    (tmp_path / 'list.txt').write_text('clips/a 12 3\n')
    frames = dict(dataset, type='RawframeDataset', multi_class=False)
    assert rows_of(frames) == [(1, 'clips/a', [3])]
    assert rows_of(dict(dataset, type='AudioDataset')) is None
    assert rows_of(dict(type='CachedFeatureDataset', store='x', split='train')) is None


def test_the_test_pipeline_of_a_wrapped_data_set():
    inner = dict(type='VideoDataset', pipeline=[dict(type='Resize')])
    wrapped = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', dataset=inner)])
    cfg = Config(dict(test_dataloader=dict(dataset=wrapped), test_pipeline=[dict(type='Flip')]))
    assert [t['type'] for t in test_pipeline(cfg)] == ['Resize']
    cfg.test_dataloader = None
    assert [t['type'] for t in test_pipeline(cfg)] == ['Flip']
    with pytest.raises(ValueError, match='expected a test_pipeline'):
        test_pipeline(Config())


def test_weights_and_dicts_of_a_model():
    model = dict(
        backbone=dict(init_cfg=[dict(type='Pretrained', checkpoint='a.pth')], pretrained=None),
        neck=dict(pretrained='b.pth', parts=(dict(type='Pretrained'), 1)),
    )
    assert named_weights(model) == ['a.pth', 'b.pth']
    scoped = dict(type='mmengine.Pretrained', checkpoint='c.pth')
    assert named_weights(dict(init_cfg=scoped)) == ['c.pth']
    assert len(list(nested_dicts(model))) == 5


def test_a_split_is_chosen_while_the_config_is_read(monkeypatch):
    monkeypatch.setenv(SPLIT_VARIABLE, '3')
    path = ROOT / 'configs/mobilenet_convlstm_ucf101.py'
    for split, wanted in ((2, 'split_2'), (None, 'split_1')):
        cfg = read_config(path, split, {'randomness.seed': 5})
        assert wanted in datasets_of(cfg, 'test')[0]['ann_file'] and cfg.randomness.seed == 5
    assert os.environ[SPLIT_VARIABLE] == '3'


def test_class_names_fit_or_are_refused(tmp_path):
    cfg = Config(dict(data_root=str(tmp_path)))
    assert read_labels(cfg, 2) == ['class 0', 'class 1']
    (tmp_path / 'label_map.txt').write_text('jump\n\nrun \n')
    assert read_labels(cfg, 2) == ['jump', 'run']
    with pytest.raises(ValueError, match='names 2 classes, and the model has 3'):
        read_labels(cfg, 3)
    cfg.none_class = 2  # the class of pauses, which no list has
    assert read_labels(cfg, 3) == ['jump', 'run', 'none']
    with pytest.raises(FileNotFoundError):
        read_labels(cfg, 2, str(tmp_path / 'gone.txt'))


def test_class_names_of_the_data_set_are_the_labels_of_the_tools(tmp_path):
    (tmp_path / 'names.txt').write_text('jump\nrun\n')
    for given in (
        dict(label_file=str(tmp_path / 'names.txt')),
        dict(metainfo=dict(classes=['jump', 'run'])),
        dict(metainfo=dict(classes=str(tmp_path / 'names.txt'))),
    ):
        wrapped = dict(type='RepeatDataset', dataset=dict(type='CheckedVideoDataset', **given))
        cfg = Config(dict(data_root=str(tmp_path), test_dataloader=dict(dataset=wrapped)))
        assert read_labels(cfg, 2) == ['jump', 'run']


def test_class_names_of_the_data_come_before_those_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'label_map.txt').write_text('of\nothers\n')
    data = dict(type='CheckedVideoDataset', metainfo=dict(classes=['jump', 'run']), ann_file='')
    cfg = Config(dict(test_dataloader=dict(dataset=data)))
    assert read_labels(cfg, 2) == ['jump', 'run']  # such as a model that was pulled
    cfg.data_root = '.'
    assert read_labels(cfg, 2) == ['jump', 'run']
    cfg = Config(dict(test_dataloader=dict(dataset=dict(data, metainfo=None))))
    assert read_labels(cfg, 2) == ['class 0', 'class 1']  # not those of where one stands
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'lists/label_map.txt').write_text('hop\nwalk\n')
    cfg.test_dataloader.dataset.ann_file = 'lists/test.txt'
    cfg.data_root = '.'
    assert read_labels(cfg, 2) == ['hop', 'walk']


def test_loaders_without_workers_keep_no_option_of_workers():
    loader = dict(num_workers=0, persistent_workers=True, prefetch_factor=2)
    cfg = Config(dict(train_dataloader=loader, val_dataloader=dict(loader, num_workers=1)))
    cfg.test_dataloader = None
    drop_worker_options(cfg)
    assert cfg.train_dataloader == dict(num_workers=0, persistent_workers=False)
    assert cfg.val_dataloader == dict(loader, num_workers=1)


def test_neither_torch_nor_mmaction_is_needed():
    code = (
        'import sys; sys.modules.update(torch=None, mmaction=None)\n'
        'import cnnlstm_mm.config, cnnlstm_mm.storage, cnnlstm_mm.text\n'
        'from cnnlstm_mm.streaming import read_labels'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_long_lists_are_cut_and_counted():
    assert truncate_list('abc') == 'a, b, c'
    assert truncate_list(range(13)) == '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more'
    assert truncate_list(['a', 'b'], 1, '\n') == 'a\nand 1 more'


def test_equal_weights_have_one_hash():
    state = dict(a=torch.arange(4.0).reshape(2, 2), b=torch.tensor(True))
    same = dict(a=state['a'].t().contiguous().t(), b=state['b'].clone())
    assert state_hash(state) == state_hash(same) and len(state_hash(state)) == 64
    assert state_hash(state) != state_hash(dict(state, b=torch.tensor(False)))
