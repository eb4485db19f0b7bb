"""ConvLSTM computes with the weights of now, in whichever way they change."""

import copy
import os

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from cnnlstm_mm.layers import ConvLSTM

CHANGES = {}


def change(function):
    CHANGES[function.__name__] = function
    return function


def optimizer_steps(kind, **kwargs):
    def step(layer):
        optimizer = kind(layer.parameters(), lr=0.01, **kwargs)
        for _ in range(2):
            for p in layer.parameters():
                p.grad = torch.randn_like(p)
            optimizer.step()

    return step


for kind in (torch.optim.SGD, torch.optim.AdamW):
    for way in ('foreach', 'fused'):
        CHANGES[f'{kind.__name__}_{way}'] = optimizer_steps(kind, **{way: True})


@change
def data_mul(layer):
    layer.weight_hh_l0.data.mul_(2)


@change
def data_replaced(layer):
    layer.weight_ih_l0.data = layer.weight_ih_l0.data * 2


@change
def numpy_write(layer):
    layer.weight_ih_l0.detach().numpy()[:] *= 2


@change
def in_place_under_inference_mode(layer):
    with torch.inference_mode():
        layer.bias_l0.add_(1)


@change
def load_state_dict(layer):
    layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()})


@change
def load_state_dict_by_assignment(layer):
    layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()}, assign=True)


@change
def new_parameter(layer):
    layer.weight_hh_l0 = nn.Parameter(2 * layer.weight_hh_l0.detach())


@change
def swapped_tensors(layer):
    torch.utils.swap_tensors(layer.weight_hh_l0, nn.Parameter(2 * layer.weight_hh_l0.detach()))


@change
def to_float64_and_back(layer):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.double()
        data_mul(layer)
        layer.float()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@change
def flat_vector(layer):
    vector = nn.utils.parameters_to_vector(layer.parameters()).detach()
    nn.utils.vector_to_parameters(vector, layer.parameters())
    vector.mul_(2)


@change
def pruned(layer):
    prune.l1_unstructured(layer, 'weight_hh_l0', 0.5)


@change
def weight_norm_by_hook(layer):
    nn.utils.weight_norm(layer, 'weight_ih_l0')
    layer.weight_ih_l0_g.data.mul_(2)


@change
def weight_norm_by_parametrization(layer):
    parametrizations.weight_norm(layer, 'weight_ih_l0')
    layer.parametrizations.weight_ih_l0.original0.data.mul_(2)


@change
def low_rank_addition(layer):
    class Addition(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.randn(*s)) for s in ((512, 2), (2, 128 * 9)))

        def forward(self, weight):
            return weight + (self.a @ self.b).view_as(weight) / 30

    nn.utils.parametrize.register_parametrization(layer, 'weight_hh_l0', Addition())
    layer.parametrizations.weight_hh_l0[0].a.data.mul_(2)


@change
def written_by_another_process(layer):
    layer.share_memory()
    process = os.fork()
    if not process:
        layer.weight_hh_l0.data.mul_(2)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0


@pytest.mark.parametrize('frames', [1, 3])
@pytest.mark.parametrize('name', CHANGES)
def test_output_is_that_of_the_weights_now(name, frames):
    """By Winograd (3 frames), and by a single step, whose weight oneDNN could keep."""
    layer, x = ConvLSTM(128, 128).eval(), torch.randn(2, frames, 128, 7, 7)
    state = torch.randn(2, 1, 2, 128, 7, 7).unbind()
    with torch.no_grad():
        before = layer(x, state)[0]
        CHANGES[name](layer)
        layer.fused = False
        want = layer(x, state)[0]
        layer.fused = True
        for _ in range(2):
            torch.testing.assert_close(layer(x, state)[0], want, rtol=1e-4, atol=1e-5)
        assert (want - before).abs().max() > 1e-2


def test_functional_call_and_stacked_state():
    layers, x = [ConvLSTM(8, 8), ConvLSTM(8, 8)], torch.randn(2, 3, 8, 5, 5)
    with torch.no_grad():
        want = torch.stack([layer(x)[0] for layer in layers])
        for layer, one in zip(layers, want):
            weights = dict(layer.named_parameters())
            got = torch.func.functional_call(copy.deepcopy(layers[0]), weights, (x,))[0]
            torch.testing.assert_close(got, one)
        state = torch.func.stack_module_state(layers)
        call = torch.func.functional_call
        got = torch.func.vmap(lambda *state: call(layers[0], state, (x,))[0])(*state)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
