"""FlattenHead against the same layers by hand, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample


def build(**kwargs):
    head = MODELS.build(
        dict(
            dict(
                type='FlattenHead',
                num_classes=3,
                in_channels=4,
                spatial_size=(5, 2),
                hidden_channels=6,
            ),
            **kwargs,
        )
    )
    head.init_weights()
    return head


def test_equals_the_layers_by_hand():
    head = build(num_steps=2).eval()
    x = torch.randn(7, 4, 2, 5, 2)
    hidden = F.linear(x.reshape(7, -1), head.fc_hidden.weight).clamp(min=0)
    torch.testing.assert_close(head(x), F.linear(hidden, head.fc_cls.weight))


def test_dropout_acts_in_training_only():
    head = build(dropout_ratio=0.9)
    x = torch.randn(2, 4, 1, 5, 2)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


def test_loss_and_prediction():
    head = build(dropout_ratio=0.0, average_clips='prob', topk=(1,))
    x = torch.randn(2, 4, 1, 5, 2)
    samples = [ActionDataSample().set_gt_label(k) for k in (0, 2)]
    loss = head.loss(x, samples)['loss_cls']
    torch.testing.assert_close(loss, F.cross_entropy(head(x), torch.tensor([0, 2])))
    predicted = head.predict(x, samples)
    want = head(x).softmax(1)
    for sample, score in zip(predicted, want):
        torch.testing.assert_close(sample.pred_score, score)


@pytest.mark.parametrize('shape', [(1, 4, 1, 5, 3), (1, 3, 1, 5, 2), (1, 4, 2, 5, 2)])
def test_another_size_is_refused_with_the_cure(shape):
    with pytest.raises(ValueError, match='I3DHead') as caught:
        build()(torch.zeros(shape))
    assert str(shape) in str(caught.value)


def test_a_size_that_pooling_would_ignore_is_refused():
    with pytest.raises(ValueError, match='spatial_size or spatial_pool'):
        build(spatial_pool='avg')
