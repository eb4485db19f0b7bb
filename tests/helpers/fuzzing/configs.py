"""Configs: parts with wrong options, and parts that do not go together."""

import copy

import torch
from hypothesis import strategies as st

from .judge import finite

BACKBONE = dict(
    type='TimeDistributed', backbone=dict(type='MobileNetV1', widen_factor=1 / 16, out_indices=(4,))
)
CONV = dict(type='ConvLSTMNeck', in_channels=16, hidden_channels=6)
LSTM = dict(type='LSTMPoolingNeck', in_channels=16, hidden_channels=6)
I3D = dict(type='I3DHead', num_classes=5, in_channels=6)
MODELS = dict(
    conv=(BACKBONE, CONV, I3D),
    lstm=(BACKBONE, LSTM, I3D),
    flat=(BACKBONE, CONV, dict(type='FlattenHead', num_classes=5, in_channels=6, spatial_size=4)),
    steps=(
        BACKBONE,
        dict(CONV, return_mode='sequence'),
        dict(type='PerStepHead', num_classes=5, in_channels=6),
    ),
)
PLACES = dict(backbone=0, neck=1, cls_head=2)
HOOKS = dict(
    BrokenVideoHook=('max_broken_share', 'count_as_wrong', 'interval'),
    FiniteLossHook=('action', 'max_in_a_row', 'max_dumps'),
    WholeCheckpointHook=('allow_missing',),
)
# What each option may be, to be accepted or to be refused by its name.
OPTIONS = dict(
    ConvLSTMNeck=(
        'in_channels',
        'hidden_channels',
        'return_mode',
        'reduce_channels',
        'tbptt_len',
        'carry_prob',
        'in_index',
        'kernel_size',
        'num_layers',
        'padding',
        'stride',
        'dilation',
        'bias',
        'forget_bias',
        'activation',
        'recurrent_activation',
        'bidirectional',
        'go_backwards',
        'peephole',
        'dropout',
        'recurrent_dropout',
        'norm',
        'gate_conv',
        'fused',
    ),
    LSTMPoolingNeck=(
        'in_channels',
        'hidden_channels',
        'num_layers',
        'bidirectional',
        'dropout',
        'activation',
        'recurrent_activation',
        'spatial_pool',
        'spatial_size',
        'dense_channels',
        'temporal_pool',
        'tbptt_len',
        'carry_prob',
        'in_index',
    ),
    TimeDistributed=('frozen', 'channels_last', 'bf16', 'backbone'),
    MobileNetV1=('widen_factor', 'out_indices', 'frozen_stages', 'norm_eval', 'with_cp'),
    I3DHead=('in_channels',),
    FlattenHead=(
        'num_classes',
        'in_channels',
        'spatial_size',
        'num_steps',
        'hidden_channels',
        'dropout_ratio',
    ),
    PerStepHead=(
        'num_classes',
        'in_channels',
        'loss_weighting',
        'clip_len',
        'average_steps',
        'dropout_ratio',
        'init_std',
    ),
)
RIGHT = dict(
    return_mode=['last', 'mean'],
    reduce_channels=[None, 3],
    kernel_size=[1, 3, (3, 1)],
    num_layers=[1, 2, 3],
    stride=[1, 2, (1, 2)],
    padding=['same', 'valid'],
    dilation=[1, (2, 1)],
    bias=[True, False],
    forget_bias=[0, 1.5],
    activation=['tanh', 'relu'],
    recurrent_activation=['sigmoid', 'hard_sigmoid', 'hard_sigmoid_keras2'],
    go_backwards=[True, False],
    peephole=[True, False, (2, 2)],
    dropout=[0, 0.5],
    recurrent_dropout=[0.0, 0.9],
    norm=[True, False],
    gate_conv=['full', 'depthwise', 'pooled'],
    fused=[True, False],
    spatial_pool=['avg', 'max'],
    dense_channels=[None, 4],
    temporal_pool=['last', 'mean', 'max', 'attention'],
    in_channels=[16, 6],
    hidden_channels=[6],
    carry_prob=[0, 1],
    in_index=[-1, 0],
    frozen=[True, False],
    channels_last=[True, False],
    frozen_stages=[-1, 2],
    norm_eval=[True, False],
    with_cp=[True, False],
    num_classes=[2, 9],
    loss_weighting=['uniform', 'linear', 'last'],
    clip_len=[None, 2],
    average_steps=[None, 'score', 'prob'],
    init_std=[0, 0.1],
    dropout_ratio=[0, 0.5],
)
WORDS = (
    'last',
    'mean',
    'max',
    'sequence',
    'attention',
    'none',
    'same',
    'valid',
    'full',
    'depthwise',
    'pooled',
    'sigmoid',
    'hard_sigmoid',
    'flatten',
    'avg',
    'uniform',
    'linear',
    'score',
    'prob',
    'stop',
    'skip',
)


def values():
    """Of right and wrong types, small enough to be built."""
    plain = st.one_of(
        st.integers(-2, 7),
        st.sampled_from([16, 10**9, 10**30, -(10**9)]),
        st.booleans(),
        st.none(),
        st.sampled_from(WORDS),
        st.text(max_size=5),
        st.floats(-1, 2),
        st.sampled_from([float('nan'), float('inf'), -float('inf'), 1e300, 1e-300]),
    )
    return st.one_of(
        plain,
        plain,
        st.lists(plain, max_size=3),
        st.lists(plain, max_size=3).map(tuple),
        st.just({}),
        st.just(dict(type='MobileNetV2')),
        st.just([[1]]),
        st.just(b'x'),
    )


def cases():
    """Which options of which part become what."""
    model = st.sampled_from(sorted(MODELS))

    def parts(name):
        kinds = [(place, MODELS[name][k]['type']) for place, k in PLACES.items()] + [
            ('inner', 'MobileNetV1')
        ]
        # I3DHead is MMAction2's own: its types are not looked at here.
        return st.sampled_from(kinds).flatmap(
            lambda part: st.one_of(
                *[
                    st.sampled_from(OPTIONS[part[1]]).flatmap(
                        lambda key: st.tuples(
                            st.just(part[0]),
                            st.just(key),
                            st.sampled_from(RIGHT[key]) if key in RIGHT else values(),
                        )
                    )
                ]
                * 2,
                *[
                    st.tuples(
                        st.just(part[0]),
                        st.sampled_from(OPTIONS[part[1]]),
                        st.integers(1, 9) if part[1] == 'I3DHead' else values(),
                    )
                ]
                * 3,
                st.tuples(
                    st.just(part[0]),
                    st.sampled_from(['hiden_channels', 'in_chanels', 'frozzen']),
                    values(),
                ),
                st.tuples(
                    st.just(part[0]),
                    st.just('type'),
                    st.one_of(
                        st.text('abcNeckHead_:', min_size=1, max_size=8),
                        st.sampled_from(['ConvLSTMNek', 'I3DHed', 'MobileNetV9']),
                    ),
                ),
            )
        )

    wrong = model.flatmap(
        lambda name: st.tuples(st.just(name), st.lists(parts(name), min_size=1, max_size=2))
    )
    hook = st.sampled_from(sorted(HOOKS)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.lists(
                st.tuples(st.just('hook'), st.sampled_from(HOOKS[name]), values()),
                min_size=1,
                max_size=2,
            ),
        )
    )
    return st.one_of(wrong, wrong, wrong, hook)


def check(case, place):
    """Build, train a step and predict."""
    name, changes = case
    if name in HOOKS:
        return [], lambda: hook(name, changes)
    parts = copy.deepcopy(MODELS[name])
    for part, key, value in changes:
        target = parts[0]['backbone'] if part == 'inner' else parts[PLACES[part]]
        if isinstance(target, dict):
            target[key] = value
    # With two changes either may be the one that is named.
    words = [changes[0][1]] if len(changes) == 1 else []
    if words in (['widen_factor'], ['out_indices']):
        words = ['widen_factor|out_indices|in_channels']  # of the neck
    part, key, value = changes[0]
    if words == ['type'] and isinstance(value, str):
        words = [value]
    if words and part == 'backbone' and key == 'backbone':
        words = []
    return words, lambda: model(parts)


def hook(name, changes):
    from mmaction.registry import HOOKS as REGISTRY

    REGISTRY.build(dict(type=name, **{key: value for _, key, value in changes}))


def model(parts):
    from cnnlstm_mm.models.fit import check_channels
    from mmaction.registry import MODELS as REGISTRY
    from mmaction.structures import ActionDataSample

    backbone, neck, head = parts
    built = REGISTRY.build(dict(type='Recognizer3D', backbone=backbone, neck=neck, cls_head=head))
    built.init_weights()
    check_channels(built)
    clips = torch.rand(2, 1, 3, 3, 32, 32)
    samples = [ActionDataSample().set_gt_label(k) for k in (0, 1)]
    built.train()
    losses = built(clips, samples, mode='loss')
    losses['loss_cls'].backward()
    finite('the loss', losses['loss_cls'])
    built.eval()
    with torch.no_grad():
        for sample in built(clips, samples, mode='predict'):
            finite('the score', sample.pred_score)
