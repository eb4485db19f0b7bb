"""What the light variants cost: parameters and multiply-adds, counted by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cnnlstm_mm.layers import ConvLSTM
from cnnlstm_mm.layers.geometry import geometry

# MobileNetV2's last features: 1280 channels on 7 x 7; 256 hidden channels,
# kernels of 3 x 3.
PARAMETERS = {
    'full': 4 * 256 * (1280 + 256) * 9 + 4 * 256,
    'depthwise': (1280 + 256) * 9 + 4 * 256 * (1280 + 256) + 4 * 256,
    'pooled': 1280 * 9 + 256 * 1280 + 256 * 256 * 9 + 3 * 256 * (1280 + 256) + 4 * 256,
}
MULTIPLY_ADDS = {
    'full': 693_633_024,  # 49 * 4 * 256 * (1280 + 256) * 9
    'depthwise': 77_747_712,  # 49 * (1280 + 256) * (9 + 4 * 256)
    'pooled': 46_701_824,  # 49 * (1280 * (9 + 256) + 256 * 256 * 9) + 768 * 1536
}


@pytest.mark.parametrize('gate_conv', PARAMETERS)
def test_cost(gate_conv):
    layer = ConvLSTM(1280, 256, gate_conv=gate_conv)
    assert sum(p.numel() for p in layer.parameters()) == PARAMETERS[gate_conv]
    assert layer.multiply_adds((7, 7)) == MULTIPLY_ADDS[gate_conv]
    if gate_conv != 'full':
        assert 4 * MULTIPLY_ADDS[gate_conv] <= MULTIPLY_ADDS['full']


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(gate_conv='depthwise'),
        dict(gate_conv='pooled'),
        dict(padding='valid', stride=2, num_layers=2, bidirectional=True),
    ],
    ids=str,
)
def test_count_is_what_runs(options):
    layer = ConvLSTM(16, 8, fused=False, **options)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.randn(1, 1, 16, 9, 9))
    assert counter.get_total_flops() == 2 * layer.multiply_adds((9, 9))


def test_gates_of_the_pooled_variant_have_no_space():
    torch.manual_seed(0)
    layer = ConvLSTM(3, 4, gate_conv='pooled', kernel_size=1)
    x = torch.randn(1, 3, 3, 5, 5)
    shuffle = torch.randperm(25)
    shuffled = x.flatten(3)[..., shuffle].view_as(x)
    want = layer(x)[0].flatten(3)[..., shuffle]
    assert torch.allclose(layer(shuffled)[0].flatten(3), want, atol=1e-6)


@pytest.mark.parametrize('gate_conv', PARAMETERS)
def test_every_variant_starts_with_gates_that_see_the_input(gate_conv):
    """A depthwise kernel has its taps in and out, not taps times channels."""
    torch.manual_seed(0)
    layer = ConvLSTM(512, 64, gate_conv=gate_conv, bias=False)
    x = torch.randn(16, 512, 9, 9)
    weights = {name[:-3]: weight for name, weight in layer.named_parameters()}
    g = geometry(x.shape[2:], (3, 3))
    _, _, z, _ = layer._gates.of_input(x, weights, None, g).chunk(4, 1)  # the candidate's share
    # Glorot: 2 fan_in / (fan_in + fan_out) of the input's variance.
    fan_out = {'full': 256, 'depthwise': 256, 'pooled': 64}[gate_conv]
    variance = z[..., 1:-1, 1:-1].var().item()
    assert variance == pytest.approx(2 * 512 / (512 + fan_out), rel=0.15)
