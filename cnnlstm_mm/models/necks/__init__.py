"""Recurrent necks: 5-D features in, 5-D features out."""

from cnnlstm_mm.models.feature_input import PaddedFeature

from .conv_lstm_neck import ConvLSTMNeck
from .lstm_pooling_neck import LSTMPoolingNeck
from .min_conv_lstm_neck import MinConvLSTMNeck
from .min_lstm_neck import MinLSTMNeck
from .recurrent_neck import RecurrentNeck

__all__ = [
    'ConvLSTMNeck',
    'LSTMPoolingNeck',
    'MinConvLSTMNeck',
    'MinLSTMNeck',
    'PaddedFeature',
    'RecurrentNeck',
]
