"""Whole recognizers: views, batches and every parameter's gradient."""

import itertools

import pytest
import torch

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

NECKS = dict(
    convlstm=dict(type='ConvLSTMNeck', in_channels=1280, hidden_channels=8),
    lstm=dict(
        type='LSTMPoolingNeck', in_channels=1280, hidden_channels=8, temporal_pool='attention'
    ),
)
HEADS = dict(
    i3d=dict(type='I3DHead', num_classes=5, in_channels=8, dropout_ratio=0.0, average_clips='prob'),
    flatten=dict(
        type='FlattenHead',
        num_classes=5,
        in_channels=8,
        spatial_size=2,
        hidden_channels=16,
        dropout_ratio=0.0,
        average_clips='prob',
    ),
)


def build(neck, head, **backbone):
    head = dict(HEADS[head])
    if neck == 'lstm' and head['type'] == 'FlattenHead':
        head['spatial_size'] = 1
    recognizer = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(
                type='TimeDistributed',
                backbone=dict(type='MobileNetV2', widen_factor=0.1),
                **backbone,
            ),
            neck=NECKS[neck],
            cls_head=head,
            data_preprocessor=dict(
                type='ActionDataPreprocessor',
                mean=[127.5] * 3,
                std=[127.5] * 3,
                format_shape='NCTHW',
            ),
        )
    )
    recognizer.init_weights()
    torch.nn.init.normal_(recognizer.cls_head.fc_cls.weight)
    give_statistics(recognizer.backbone.backbone)
    return recognizer


def give_statistics(backbone):
    """Batch-norm statistics of random frames: features differ by video."""
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        backbone(torch.randn(16, 3, 64, 64))
    for norm in norms:
        norm.momentum = 0.1


def predict(recognizer, videos):
    """Scores [N, classes] of uint8 videos, each [views, 3, T, H, W]."""
    samples = [ActionDataSample().set_gt_label(0) for _ in videos]
    with torch.no_grad():
        done = recognizer.eval().test_step(dict(inputs=list(videos), data_samples=samples))
    return torch.stack([sample.pred_score for sample in done])


def random_videos(count, views):
    return torch.randint(0, 256, (count, views, 3, 4, 64, 64), dtype=torch.uint8)


ALL = list(itertools.product(NECKS, HEADS))


@pytest.mark.slow
@pytest.mark.parametrize('neck, head', ALL)
@pytest.mark.parametrize('views', [1, 3, 10])
def test_views_do_not_meet(neck, head, views):
    recognizer = build(neck, head)
    videos = random_videos(2, views)
    single = torch.stack([predict(recognizer, videos[:, v : v + 1]) for v in range(views)]).mean(0)
    assert single.std() > 1e-3, 'the scores must depend on the video'
    torch.testing.assert_close(predict(recognizer, videos), single, rtol=0, atol=1e-6)


@pytest.mark.parametrize('neck, head', ALL)
def test_batch_order_does_not_matter(neck, head):
    recognizer = build(neck, head)
    videos = random_videos(4, 2)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        predict(recognizer, videos)[order], predict(recognizer, videos[order]), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize('neck, head', ALL)
def test_max_testing_views_changes_nothing(neck, head):
    recognizer = build(neck, head)
    video = random_videos(1, 5)
    want = predict(recognizer, video)
    recognizer.test_cfg = dict(max_testing_views=2)
    torch.testing.assert_close(predict(recognizer, video), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('neck, head', ALL)
def test_every_parameter_has_a_gradient_or_is_frozen(neck, head, frozen):
    recognizer = build(neck, head, frozen=frozen).train()
    samples = [ActionDataSample().set_gt_label(k) for k in (0, 1)]
    data = recognizer.data_preprocessor(
        dict(inputs=list(random_videos(2, 1)), data_samples=samples), True
    )
    losses = recognizer(**data, mode='loss')
    losses['loss_cls'].backward()
    without = {name for name, p in recognizer.named_parameters() if p.grad is None}
    backbone = {name for name, _ in recognizer.named_parameters() if name.startswith('backbone.')}
    assert without == (backbone if frozen else set())
