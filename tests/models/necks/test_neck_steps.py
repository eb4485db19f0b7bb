"""Necks that go on from a state, and training on consecutive clips."""

import pytest
import torch
from helpers.necks import NECKS, build_neck

from cnnlstm_mm.models.necks import PaddedFeature
from cnnlstm_mm.models.stepping import reset_state
from cnnlstm_mm.models.temporal_pool import RunningPool


def build(name, **options):
    return build_neck(name, 'sequence', channels=3, **options)


def gradients(neck, output):
    neck.zero_grad()
    weight = torch.arange(1.0, output.numel() + 1).sin().view_as(output)
    (output * weight).sum().backward()
    return [p.grad.clone() for p in neck.parameters()]


def test_lstm_returns_all_steps():
    neck = build_neck('LSTMPoolingNeck', channels=3, temporal_pool='none', bidirectional=True)
    x = torch.randn(2, 3, 5, 4, 4)
    want = neck.lstm(x.mean((3, 4)).transpose(1, 2))[0].transpose(1, 2)
    torch.testing.assert_close(neck(x)[0], want[..., None, None])


@pytest.mark.parametrize('name', NECKS)
@pytest.mark.parametrize('carry_prob', [0.0, 1.0])
@pytest.mark.parametrize('clip_len', [3, 4, 9])
def test_truncated_training_is_clips_by_hand(name, carry_prob, clip_len):
    neck = build(name, tbptt_len=clip_len, carry_prob=carry_prob).train()
    x = torch.randn(2, 3, 6, 4, 4)
    got, losses = neck(x)
    assert losses == {}
    parts, state = [], None
    for clip in x.split(clip_len, 2):
        if state is None or not carry_prob:
            state = neck.init_state(2, (4, 4))
        state = {k: v.detach() for k, v in state.items()}
        part, state = neck.forward_steps(clip, state)
        parts.append(part)
    want = torch.cat(parts, 2)
    torch.testing.assert_close(got, want)
    for a, b in zip(gradients(neck, got), gradients(neck, want)):
        torch.testing.assert_close(a, b)

    whole = build(name)
    whole.load_state_dict(neck.state_dict())
    out, _ = whole(x)
    same = carry_prob == 1 or clip_len == 9
    assert torch.allclose(out, got, atol=1e-6) == same
    cut = [
        torch.allclose(a, b, atol=1e-6)
        for a, b in zip(gradients(whole, out), gradients(neck, neck(x)[0]))
    ]
    assert all(cut) == (clip_len == 9), 'gradients stop at the borders'
    torch.testing.assert_close(neck.eval()(x)[0], out)


@pytest.mark.parametrize('name', NECKS)
def test_each_sample_is_carried_with_its_own_chance(name):
    neck = build(name, tbptt_len=2, carry_prob=0.75).train()
    x = torch.randn(1, 3, 4, 4, 4).repeat(400, 1, 1, 1, 1)
    out, _ = neck(x)
    carried = neck.eval()(x[:1])[0]
    anew = neck(x[:1, :, 2:])[0]
    torch.testing.assert_close(out[:, :, :2], carried[:, :, :2].expand(400, -1, -1, -1, -1))
    second = out[:, :, 2:]
    is_carried = (second - carried[:, :, 2:]).abs().amax((1, 2, 3, 4)) < 1e-5
    is_anew = (second - anew).abs().amax((1, 2, 3, 4)) < 1e-5
    assert bool((is_carried ^ is_anew).all())
    assert 0.65 < is_carried.float().mean() < 0.85


@pytest.mark.parametrize(
    'name, option',
    [
        ('ConvLSTMNeck', 'bidirectional'),
        ('ConvLSTMNeck', 'go_backwards'),
        ('LSTMPoolingNeck', 'bidirectional'),
    ],
)
def test_truncated_training_runs_forwards(name, option):
    with pytest.raises(ValueError, match=f'set {option}=False'):
        build(name, tbptt_len=2, **{option: True})


@pytest.mark.parametrize('name', NECKS)
def test_sequences_of_different_lengths_are_refused(name):
    neck = build(name)
    x = PaddedFeature(torch.randn(2, 3, 4, 4, 4), torch.tensor([2, 4]))
    with pytest.raises(ValueError, match='lengths'):
        neck(x)
    with pytest.raises(ValueError, match='padded'):
        neck.forward_steps(x, neck.init_state(2, (4, 4)))


def test_reset_clears_what_is_not_a_number():
    state = dict(h=torch.full((3, 2, 2), torch.nan), count=torch.arange(3))
    new = reset_state(state, torch.tensor([True, False, True]))
    assert new['count'].tolist() == [0, 1, 0]
    assert new['h'].isnan().any(2).any(1).tolist() == [False, True, False]
    assert state['count'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('mode', ['mean', 'attention'])
def test_pools_keep_their_precision(mode):
    """Extreme scores do not overflow, and a long stream does not drift."""
    pool = RunningPool(mode)
    torch.manual_seed(0)
    output = 1000 + torch.randn(1, 4000, 3)
    score = torch.linspace(-3e4, 3e4, 4000)[None]
    got, state = pool(output, pool.init_state(1, (3,)), score)
    weights = (
        score.double().softmax(1)
        if mode == 'attention'
        else (torch.full((1, 4000), 1 / 4000, dtype=torch.float64))
    )
    want = (weights[..., None] * output.double()).sum(1)
    torch.testing.assert_close(got[:, -1].double(), want, rtol=1e-6, atol=0)
    assert state['count'].tolist() == [4000]
