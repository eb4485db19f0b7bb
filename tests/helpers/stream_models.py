"""Small recognizers with every causal option, and their clip scores."""

import torch
from helpers.necks import POOLED, neck_config
from mmengine.config import Config

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

CONV = dict(type='ConvLSTMNeck', in_channels=8, hidden_channels=6)
LSTM = dict(type='LSTMPoolingNeck', in_channels=8, hidden_channels=6)
I3D = dict(type='I3DHead', num_classes=5, in_channels=6, average_clips='prob')
PER_STEP = dict(I3D, type='PerStepHead')
FLAT = dict(I3D, type='FlattenHead', spatial_size=4, hidden_channels=7)

OPTIONS = dict(
    conv=(CONV, I3D),
    conv_raw_scores=(CONV, dict(I3D, average_clips='score')),
    conv_mean=(dict(CONV, return_mode='mean', num_layers=2), I3D),
    conv_valid=(dict(CONV, padding='valid'), dict(FLAT, spatial_size=2)),
    conv_stride=(dict(CONV, stride=2, dilation=1, kernel_size=(3, 2)), I3D),
    conv_peephole=(
        dict(CONV, peephole=(5, 5), num_layers=2, recurrent_activation='hard_sigmoid'),
        FLAT,
    ),
    # Of fewer channels the norm makes noise: it divides by their length, at some pixels near 0.
    conv_depthwise=(dict(CONV, gate_conv='depthwise', norm=True, reduce_channels=12), I3D),
    conv_pooled=(dict(CONV, gate_conv='pooled', return_mode='mean', peephole=True), I3D),
    conv_plain=(dict(CONV, fused=False, bias=False, norm=True), I3D),
    conv_keras2=(
        dict(CONV, hidden_channels=[5, 6], recurrent_activation='hard_sigmoid_keras2'),
        FLAT,
    ),
    conv_relu=(dict(CONV, activation='relu', return_mode='mean'), I3D),
    conv_dropout=(dict(CONV, dropout=0.3, recurrent_dropout=0.3), I3D),
    conv_per_step=(
        dict(CONV, return_mode='sequence', num_layers=2, tbptt_len=2, carry_prob=0.5),
        PER_STEP,
    ),
    conv_per_step_score=(dict(CONV, return_mode='sequence'), dict(PER_STEP, average_steps='score')),
    lstm=(dict(LSTM, num_layers=2, dropout=0.3), I3D),
    lstm_keras2=(
        dict(LSTM, hidden_channels=[5, 6], recurrent_activation='hard_sigmoid_keras2'),
        I3D,
    ),
    lstm_relu=(dict(LSTM, activation='relu', num_layers=2, temporal_pool='mean'), I3D),
    lstm_mean=(dict(LSTM, temporal_pool='mean', dense_channels=3), I3D),
    lstm_max=(dict(LSTM, temporal_pool='max', spatial_pool='max'), PER_STEP),
    lstm_attention=(
        dict(LSTM, temporal_pool='attention', spatial_pool='flatten', spatial_size=4),
        I3D,
    ),
    lstm_per_step_prob=(dict(LSTM, temporal_pool='none'), dict(PER_STEP, average_steps='prob')),
)


@MODELS.register_module()
class OneConvolution(torch.nn.Sequential):
    """A backbone that is exported in no time; 32x32 pixels to 16 channels of 4x4."""

    def __init__(self):
        super().__init__(torch.nn.Conv2d(3, 16, 8, stride=8), torch.nn.ReLU())


# Every registered neck with every pooling, plain and residual.
for _name, _pool in POOLED:
    _head = PER_STEP if _pool == 'sequence' else I3D
    _neck = dict(neck_config(_name, _pool), hidden_channels=6)
    OPTIONS[f'{_name}_{_pool}'] = (_neck, _head)
    OPTIONS[f'{_name}_{_pool}_residual'] = (dict(_neck, residual=True), dict(_head, in_channels=16))


def config(neck, head, backbone=None, **pipeline):
    """A config with frames of 32x32, brought there from any size."""
    backbone = backbone or dict(
        type='MobileNetV1', widen_factor=1 / 16, out_indices=(4,), norm_cfg=dict(type='BN')
    )
    return Config(
        dict(
            model=dict(
                type='Recognizer3D',
                backbone=dict(type='TimeDistributed', backbone=backbone),
                neck=neck and dict(neck, in_channels=16),
                cls_head=head,
                data_preprocessor=dict(
                    type='ActionDataPreprocessor',
                    mean=[120.0, 130.0, 110.0],
                    std=[60.0, 50.0, 70.0],
                    format_shape='NCTHW',
                ),
            ),
            test_pipeline=[
                dict(type='DecordInit'),
                dict(type='SampleFrames', clip_len=6, frame_interval=3),
                dict(type='DecordDecode'),
                dict(type='Resize', scale=(-1, 36)),
                dict(type='CenterCrop', crop_size=32),
                dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs'),
            ],
        )
    )


def build(cfg):
    """A recognizer whose scores depend on the frames and their order."""
    model = MODELS.build(cfg.model)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            fan = parameter[0].numel()
            torch.nn.init.normal_(parameter, std=1.5 * fan**-0.5)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        model.backbone(torch.randn(4, 3, 4, 32, 32))
    model.eval()
    return model


def clip_scores(model, frames):
    """What a test gives for a clip of prepared uint8 frames [T, H, W, 3]."""
    video = torch.as_tensor(frames).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        (sample,) = model.test_step(dict(inputs=[video], data_samples=[ActionDataSample()]))
    return sample.pred_score
