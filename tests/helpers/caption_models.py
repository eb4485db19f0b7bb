"""Small captioners of every kind, and clips for them."""

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cnnlstm_mm.captions.vocabulary import Vocabulary
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

CAPTIONS = ['a red square moves left then up', 'the green circle goes right before it goes down']
SIDE, FRAMES = 16, 6
PIPELINE = [
    dict(type='DecordInit'),
    dict(
        type='SampleFrames',
        clip_len=FRAMES,
        frame_interval=1,
        num_clips=1,
        out_of_bound_opt='repeat_last',
        test_mode=True,
    ),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(SIDE, SIDE), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('filename',)),
]
LSTM = dict(type='LSTMPoolingNeck', hidden_channels=12, temporal_pool='sequence')
CONV = dict(type='ConvLSTMNeck', hidden_channels=12, return_mode='sequence')
CONV.update(kernel_size=3, padding='same')
# Neck, and what the decoder attends to.
KINDS = {
    'lstm time': (LSTM, 'time'),
    'lstm mean': (LSTM, 'mean'),
    'conv time': (CONV, 'time'),
    'conv space_time': (CONV, 'space_time'),
    'none space_time': (None, 'space_time'),
}


def vocabulary() -> Vocabulary:
    return Vocabulary.build(CAPTIONS)


def head(in_channels=5, **options):
    """A small head with weights large enough for sentences that differ."""
    options = dict(
        dict(embed_channels=6, hidden_channels=7, attention_channels=4, dropout_ratio=0.0),
        **options,
    )
    vocab = options.pop('vocabulary', None) or vocabulary().text
    made = MODELS.build(
        dict(type='CaptionHead', vocabulary=vocab, in_channels=in_channels, **options)
    )
    made.decoder.init_weights()
    for parameter in made.parameters():
        parameter.data.mul_(3)
    return made


def config(kind='lstm time', **options):
    """The config of a captioner."""
    neck, attend = KINDS[kind]
    channels = 32 if neck is None else neck['hidden_channels']
    return Config(
        dict(
            default_scope='mmaction',
            test_pipeline=PIPELINE,
            test_dataloader=dict(
                batch_size=2,
                num_workers=0,
                dataset=dict(type='CaptionDataset', pipeline=PIPELINE, test_mode=True),
            ),
            model=dict(
                type='VideoCaptioner',
                backbone=dict(
                    type='TimeDistributed',
                    backbone=dict(type='MobileNetV1', widen_factor=0.25, out_indices=(1,)),
                ),
                neck=neck and dict(neck, in_channels=32),
                cls_head=dict(
                    dict(
                        type='CaptionHead',
                        vocabulary=vocabulary().text,
                        in_channels=channels,
                        embed_channels=8,
                        hidden_channels=16,
                        attention_channels=8,
                        attend=attend,
                        max_words=9,
                        dropout_ratio=0.0,
                    ),
                    **options,
                ),
                data_preprocessor=dict(
                    type='ActionDataPreprocessor',
                    mean=[127.5] * 3,
                    std=[127.5] * 3,
                    format_shape='NCTHW',
                ),
            ),
        )
    )


@torch.no_grad()
def build(cfg, seed=0):
    """A captioner in evaluation mode whose captions depend on the clip: its memory is whitened."""
    init_default_scope('mmaction')  # fixtures of a module come before that of the scope
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    decoder, data = model.cls_head.decoder, batch(model, clips(8, seed=99))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # one batch gives the statistics
    model.train().backbone(data['inputs'][:, 0])
    memory, _ = model.eval().cls_head.memory(model.extract_feat(data['inputs'], test_mode=True)[0])
    std, mean = torch.std_mean(memory.flatten(0, 1), 0)
    embed, hidden = decoder.embedding.embedding_dim, decoder.lstm.hidden_size
    parts = [(layer.weight, layer.bias, 0) for layer in (decoder.init_h, decoder.init_c)]
    parts.append((decoder.attend_memory.weight, decoder.attend_memory.bias, 0))
    parts.append((decoder.lstm.weight_ih, decoder.lstm.bias_ih, embed))
    parts.append((decoder.output.weight, decoder.output.bias, hidden))
    for weight, bias, first in parts:
        weight[:, first:] *= 4 / (std + 1e-6)
        bias -= weight[:, first:] @ mean
    decoder.classifier.weight.mul_(6)
    return model


def clips(count, frames=FRAMES, seed=0):
    """Random clips with large patches, uint8 RGB [N, T, H, W, 3]."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, frames, 4, 4, 3), np.uint8)
    return small.repeat(SIDE // 4, 2).repeat(SIDE // 4, 3)


def batch(model, videos):
    """What the model takes of clips [N, T, H, W, 3]."""
    inputs = [torch.from_numpy(v.transpose(3, 0, 1, 2)[None].copy()) for v in videos]
    samples = [ActionDataSample(metainfo=dict(filename=f'{n}.avi')) for n in range(len(videos))]
    return model.data_preprocessor(dict(inputs=inputs, data_samples=samples), False)


@torch.no_grad()
def captions(model, videos):
    """The n-best captions of clips [N, T, H, W, 3]."""
    return [s.pred_captions for s in model(**batch(model, videos), mode='predict')]
