"""Checkpoints that fit in part, or hold NaN or infinity."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from helpers.support import ROOT, load_tool
from helpers.toy_training import runner
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop

from cnnlstm_mm.features.extraction import FeatureExtractor
from cnnlstm_mm.weights import load_complete
from mmaction.registry import MODELS

NAN = float('nan')


def saved(path, model, drop=(), **change):
    state = {k: v for k, v in model.state_dict().items() if k not in drop}
    torch.save(dict(state_dict={**state, **change}), path)
    return str(path)


def loaded(tmp_path, filename, mode, **hook):
    run = runner(tmp_path, [None] * 2)
    hooks = [h for h in run.hooks if type(h).__name__ == 'FiniteLossHook']
    assert hooks
    run.register_hook(dict(type='WholeCheckpointHook', **hook))
    run._resume = mode == 'resume'
    run._load_from = filename
    if mode != 'test':
        run._train_loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    run.load_checkpoint(filename)
    return next(Path(tmp_path).glob('*/*.log')).read_text()


@pytest.fixture
def model(tmp_path):
    return runner(tmp_path / 'model', [None] * 2).model


def test_a_test_wants_all_weights(tmp_path, model):
    lost = saved(tmp_path / 'lost.pth', model, ['fc.weight'])
    with pytest.raises(
        RuntimeError, match='lost.pth does not fit.*Missing keys: fc.weight.'
    ) as error:
        loaded(tmp_path / 'a', lost, 'test')
    assert 'allow_missing=True' in str(error.value)
    log = loaded(tmp_path / 'b', lost, 'test', allow_missing=True)
    assert 'Only 6 of 7 weights come from' in log
    other = saved(tmp_path / 'other.pth', model, **{'fc.weight': torch.ones(5, 4)})
    with pytest.raises(
        RuntimeError,
        match=r'fc.weight \[5, 4\], the model '
        r'has \[3, 4\]',
    ):
        loaded(tmp_path / 'c', other, 'test')
    loaded(tmp_path / 'd', saved(tmp_path / 'good.pth', model), 'test')


def test_a_training_takes_what_fits_and_says_so(tmp_path, model):
    lost = saved(tmp_path / 'lost.pth', model, ['fc.weight'])
    log = loaded(tmp_path / 'a', lost, 'train')
    assert 'WARNING' in log and 'Missing keys: fc.weight.' in log
    linear = torch.nn.Linear(9, 9)
    with pytest.raises(RuntimeError, match='another architecture'):
        loaded(tmp_path / 'b', saved(tmp_path / 'x.pth', linear), 'train')
    with pytest.raises(RuntimeError, match='cannot be resumed.*without meta'):
        loaded(tmp_path / 'c', saved(tmp_path / 'good.pth', model), 'resume')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('mode', ['train', 'resume', 'test', 'strict'])
def test_no_weights_but_numbers(tmp_path, model, value, mode):
    bad = saved(tmp_path / 'bad.pth', model, **{'norm.bias': torch.tensor([0, value, 0, 0])})
    with pytest.raises(
        ValueError, match='bad.pth: .* NaN or infinity in 1 of . weights: norm.bias'
    ):
        if mode == 'strict':
            load_complete(model, bad)
        else:
            loaded(tmp_path / 'a', bad, mode)


def test_a_training_refuses_pretrained_weights_with_nan(tmp_path, model):
    """They are loaded by ``init_cfg``, which no hook sees."""
    bad = saved(tmp_path / 'bad.pth', model, **{'fc.bias': torch.tensor([0, NAN, 0])})
    run = runner(tmp_path / 'run', [None] * 2)
    run.register_hook(dict(type='WholeCheckpointHook'))
    run.model.init_cfg = dict(type='Pretrained', checkpoint=bad)
    with pytest.raises(ValueError, match='init_cfg.*NaN or infinity in 1 of . weights: fc.bias'):
        run.train()


def quickstart(quickstart_data):
    """A config of the built-in data with a small model, and its recognizer."""
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    for mode, part in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{mode}_dataloader'].dataset
        dataset.ann_file = f'{quickstart_data}/quickstart_{part}_split_1_videos.txt'
        dataset.data_prefix.video = f'{quickstart_data}/videos'
    return cfg, MODELS.build(cfg.model)


@pytest.mark.parametrize('tool', ['temporal_probe', 'early_recognition', 'extract_features'])
def test_the_tools_refuse_nan(quickstart_data, tmp_path, tool):
    cfg, recognizer = quickstart(quickstart_data)
    name = 'backbone.backbone.conv1.conv.weight'
    recognizer.state_dict()[name][0, 0, 0, 0] = NAN
    bad = saved(tmp_path / 'bad.pth', recognizer)
    cfg.dump(tmp_path / 'config.py')
    with pytest.raises(ValueError, match=f'bad.pth.*NaN or infinity in 1 of .*{name}'):
        if tool == 'extract_features':
            FeatureExtractor(cfg, tmp_path / 'out', ['val'], checkpoint=bad)
            return
        module = load_tool(f'tools/analysis/{tool}.py')
        args = Namespace(cfg_options=None, device='cpu', max_videos=1, parts=[1.0])
        more = ['clip'] if tool == 'early_recognition' else []
        module.measure(str(tmp_path / 'config.py'), bad, *more, args)
