"""Every recurrent neck that is registered, found by its base class, and one of a user's."""

import helpers.gru_neck  # noqa: F401

from cnnlstm_mm.models.necks import RecurrentNeck
from mmaction.registry import MODELS

NECKS = sorted(
    name
    for name, kind in MODELS.module_dict.items()
    if isinstance(kind, type) and issubclass(kind, RecurrentNeck)
)
POOLED = [(name, pool) for name in NECKS for pool in MODELS.get(name).pools]
# Options of a neck that change what it computes, beside the pooling.
EXTRA = dict(
    ConvLSTMNeck=[
        dict(num_layers=2),
        dict(reduce_channels=3),
        dict(gate_conv='pooled', peephole=True),
        dict(bidirectional=True),
        dict(hidden_channels=[5, 4], recurrent_activation='hard_sigmoid_keras2'),
        dict(activation='relu', num_layers=2),
    ],
    MinConvLSTMNeck=[dict(num_layers=2, reduce_channels=3), dict(gate_conv='depthwise')],
    MinLSTMNeck=[dict(num_layers=2, dense_channels=3), dict(bidirectional=True)],
    LSTMPoolingNeck=[
        dict(num_layers=2, dense_channels=3),
        dict(spatial_pool='max'),
        dict(spatial_pool='flatten', spatial_size=3),
        dict(bidirectional=True),
        dict(hidden_channels=[5, 4], recurrent_activation='hard_sigmoid_keras2'),
        dict(activation='relu', num_layers=2),
    ],
)
OPTIONS = [(name, options) for name in NECKS for options in ({}, *EXTRA.get(name, ()))]


def neck_config(name, pool=None, channels=6, **options):
    """Config of a small neck; ``pool`` under the neck's own name of that option."""
    if pool is not None:
        options[MODELS.get(name).pool_option] = pool
    return dict(dict(type=name, in_channels=channels, hidden_channels=4), **options)


def build_neck(name, pool=None, channels=6, **options):
    """A neck with its first weights."""
    neck = MODELS.build(neck_config(name, pool, channels, **options))
    neck.init_weights()
    return neck
