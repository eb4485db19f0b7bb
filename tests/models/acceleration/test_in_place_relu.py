"""ReLU6 in place against PyTorch's out of place."""

import copy
import pickle

import torch
import torch.nn.functional as F
from torch import nn

from cnnlstm_mm.models.acceleration.in_place_relu import InPlaceHardtanh, keep_outputs


def inputs():
    """Values on both sides of the limits and on them."""
    x = torch.linspace(-3, 9, 49, dtype=torch.float64)
    assert {0.0, 6.0} <= set(x.tolist())
    return x.requires_grad_()


def test_values_and_gradients():
    x, weights = inputs(), torch.rand(49, dtype=torch.float64)
    out = InPlaceHardtanh(0.0, 6.0)(x * 1)
    want = F.hardtanh(x * 1, 0.0, 6.0)
    assert torch.equal(out, want)
    (got,) = torch.autograd.grad((out * weights).sum(), x)
    (expected,) = torch.autograd.grad((want * weights).sum(), x)
    assert torch.equal(got, expected)
    assert 0 < (expected == 0).sum() < 49


def test_in_place_and_only_the_output_is_kept():
    kept = []
    x = inputs() * 1
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (kept.append(t.data_ptr()), t)[1], lambda t: t
    ):
        out = InPlaceHardtanh(0.0, 6.0)(x)
    assert out.data_ptr() == x.data_ptr()
    assert kept == [out.data_ptr()]


def test_second_derivative():
    x = torch.randn(20, dtype=torch.float64).requires_grad_()
    module = InPlaceHardtanh(-1.0, 1.0)
    assert torch.autograd.gradgradcheck(lambda x: module(x**2), x)


def test_func_and_compile():
    module = InPlaceHardtanh(0.0, 6.0)
    x = inputs().detach()
    want = ((x > 0) & (x < 6)).double()
    assert torch.equal(torch.func.grad(lambda x: module(x * 1).sum())(x), want)
    compiled = torch.compile(lambda x: module(x * 1).sum(), backend='eager', fullgraph=True)
    x.requires_grad_()
    assert torch.equal(torch.autograd.grad(compiled(x), x)[0], want)


def test_replaced_at_any_depth_and_copied():
    shared = nn.ReLU6()
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.ReLU6(inplace=True)), shared)
    before = copy.deepcopy(model.state_dict())
    keep_outputs(model)
    assert isinstance(model[1][0], InPlaceHardtanh)
    assert model[1][0].max_val == 6
    assert model[2] is shared
    assert list(model.state_dict()) == list(before)
    x = torch.randn(1, 1, 3, 3)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))
