"""10,000 steps stay finite in every precision, at the worst that gates do."""

import pytest
import torch

from cnnlstm_mm.layers import ConvLSTM
from cnnlstm_mm.models.necks import LSTMPoolingNeck

pytestmark = pytest.mark.slow

STEPS = 10_000
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def keep_everything(bias):
    """Gates at 1 but for the candidate: c grows by 1 a step."""
    bias.data.fill_(50.0)


def check(out, x):
    assert out.isfinite().all() and out.abs().max() < 1.01
    out[:, -1].float().sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_conv_lstm(dtype):
    layer = ConvLSTM(2, 1, kernel_size=1).to(dtype)
    keep_everything(layer.bias_l0)
    x = torch.randn(1, STEPS, 2, 1, 1).to(dtype).requires_grad_()
    out, (_, c) = layer(x)
    assert c.isfinite().all()
    assert c.max() > 200  # bfloat16 cannot count further by 1
    check(out, x)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('pool', ['mean', 'attention'])
def test_lstm_pooling(dtype, pool):
    neck = LSTMPoolingNeck(2, 2, temporal_pool=pool)
    keep_everything(neck.lstm.bias_ih_l0)
    neck.to(dtype)
    x = torch.randn(1, 2, STEPS, 1, 1).to(dtype).requires_grad_()
    out, _ = neck(x)
    check(out.transpose(1, 2), x)
