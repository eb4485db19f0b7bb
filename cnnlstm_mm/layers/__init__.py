"""Layers that need PyTorch alone."""

from .conv_lstm import ConvLSTM
from .min_conv_lstm import MinConvLSTM
from .other_checkpoints import load_convlstm

__all__ = ['ConvLSTM', 'MinConvLSTM', 'load_convlstm']
