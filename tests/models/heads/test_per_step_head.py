"""PerStepHead against loops over the steps."""

import pytest
import torch
import torch.nn.functional as F

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

T = 6


def build(**options):
    head = MODELS.build(
        dict(
            dict(
                type='PerStepHead',
                num_classes=5,
                in_channels=4,
                dropout_ratio=0.0,
                average_clips='prob',
            ),
            **options,
        )
    )
    head.init_weights()
    torch.nn.init.normal_(head.fc_cls.weight)
    return head


def samples(*labels):
    return [ActionDataSample().set_gt_label(label) for label in labels]


def each_step(head, x):
    """Scores [N, T, classes], a step at a time."""
    return torch.stack([head.fc_cls(x[:, :, t].mean((2, 3))) for t in range(x.shape[2])], 1)


@pytest.mark.parametrize(
    'weighting, clip_len, want',
    [
        ('uniform', None, [1 / 6] * 6),
        ('uniform', 3, [1 / 6] * 6),
        ('linear', None, [t / 21 for t in (1, 2, 3, 4, 5, 6)]),
        ('linear', 3, [t / 12 for t in (1, 2, 3, 1, 2, 3)]),
        ('linear', 4, [t / 13 for t in (1, 2, 3, 4, 1, 2)]),
        ('last', None, [0, 0, 0, 0, 0, 1]),
        ('last', 3, [0, 0, 0.5, 0, 0, 0.5]),
        ('last', 9, [0, 0, 0, 0, 0, 1]),
    ],
)
def test_loss_over_time(weighting, clip_len, want):
    head = build(loss_weighting=weighting, clip_len=clip_len, label_smooth_eps=0.1)
    x = torch.randn(3, 4, T, 2, 3)
    labels = [4, 0, 2]
    losses = head.loss(x, samples(*labels))
    scores = each_step(head, x)
    expected = sum(
        weight * F.cross_entropy(scores[:, t], torch.tensor(labels), label_smoothing=0.1)
        for t, weight in enumerate(want)
    )
    torch.testing.assert_close(losses['loss_cls'], expected)
    right = (scores[:, -1].argmax(1) == torch.tensor(labels)).double().mean()
    assert losses['top1_acc'] == right


@pytest.mark.parametrize('average', [None, 'score', 'prob'])
def test_prediction(average):
    head = build(average_steps=average).eval()
    x = torch.randn(4, 4, T, 2, 3)  # two samples of two views
    done = head.predict(x, samples(0, 0))
    scores = each_step(head, x)
    if average is None:
        views = scores[:, -1].softmax(1)
    elif average == 'score':
        views = scores.mean(1).softmax(1)
    else:
        views = scores.softmax(2).mean(1)
    want = views.view(2, 2, 5).mean(1)
    got = torch.stack([sample.pred_score for sample in done])
    torch.testing.assert_close(got, want)
    parts, state = [], head.init_state(4)
    for part in x.split([1, 3, 2], dim=2):
        score, state = head.forward_steps(part, state)
        parts.append(score)
    parts = torch.cat(parts, 1)
    assert parts.shape == (4, T, 5)
    for t in range(T):
        torch.testing.assert_close(parts[:, t], head(x[:, :, : t + 1]))


@pytest.mark.parametrize('weighting', ['uniform', 'linear'])
def test_labels_of_steps(weighting):
    head = build(step_labels=True, loss_weighting=weighting)
    x = torch.randn(2, 4, T, 2, 3)
    labels = torch.tensor([[0, 0, 1, 1, 4, 4], [4, 2, 2, 2, 3, 4]])
    losses = head.loss(x, samples(*labels))
    each = F.cross_entropy(each_step(head, x).transpose(1, 2), labels, reduction='none').mean(0)
    weights = torch.ones(T) if weighting == 'uniform' else torch.arange(1.0, T + 1)
    torch.testing.assert_close(losses['loss_cls'], (weights * each).sum() / weights.sum())
    right = (each_step(head, x)[:, -1].argmax(1) == labels[:, -1]).double().mean()
    assert losses['top1_acc'] == right
    # One label is that of all steps.
    alone = build(loss_weighting=weighting)
    alone.load_state_dict(head.state_dict())
    assert head.loss(x, samples(1, 2)) == alone.loss(x, samples(1, 2))
    with pytest.raises(ValueError, match=r'one for each of 6 steps, got \[3\]'):
        head.loss(x, samples(labels[0, :3], labels[1, :3]))


def test_dropout_keeps_its_mask_over_the_steps():
    head = build(dropout_ratio=0.5).train()
    x = torch.randn(2, 4, 1, 2, 3).repeat(1, 1, T, 1, 1)
    scores = head.step_scores(x)
    torch.testing.assert_close(scores, scores[:, :1].expand_as(scores))
    assert not torch.equal(scores, each_step(head, x))


def test_starts_as_i3d_head():
    torch.manual_seed(0)
    head = MODELS.build(dict(type='PerStepHead', num_classes=50, in_channels=400, init_std=0.02))
    head.init_weights()
    assert head.fc_cls.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not head.fc_cls.bias.any()


@pytest.mark.parametrize(
    'weighting, clip_len, want',
    [
        ('uniform', None, [0, 0, 0, 0, 1 / 2, 1 / 2]),
        ('linear', None, [0, 0, 0, 0, 5 / 11, 6 / 11]),
        ('linear', 3, [0, 2 / 10, 3 / 10, 0, 2 / 10, 3 / 10]),
        ('last', None, [0, 0, 0, 0, 0, 1]),
    ],
)
def test_the_last_steps_alone_have_a_loss(weighting, clip_len, want):
    head = build(loss_weighting=weighting, clip_len=clip_len, loss_steps=2)
    assert head.loss_weights(T) == pytest.approx(want)
    assert build(loss_weighting='linear', loss_steps=9).loss_weights(T)[0] == pytest.approx(1 / 21)
    x = torch.randn(2, 4, T, 2, 3, requires_grad=True)
    head.loss(x, samples(1, 2))['loss_cls'].backward()
    assert [bool(step.any()) for step in x.grad.unbind(2)] == [weight > 0 for weight in want]


@pytest.mark.parametrize(
    'option',
    [
        dict(loss_weighting='square'),
        dict(average_steps='last'),
        dict(clip_len=0),
        dict(loss_steps=0),
    ],
)
def test_unknown_options_are_named(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        build(**option)


def test_every_parameter_has_a_gradient_from_every_step():
    head = build()
    x = torch.randn(2, 4, T, 2, 3, requires_grad=True)
    head.loss(x, samples(1, 2))['loss_cls'].backward()
    assert all(p.grad.any() for p in head.parameters())
    assert x.grad.abs().sum((0, 1, 3, 4)).min() > 0
