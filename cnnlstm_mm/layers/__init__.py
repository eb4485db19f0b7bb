"""Layers that need PyTorch alone."""

from .conv_lstm import ConvLSTM
from .other_checkpoints import load_convlstm

__all__ = ['ConvLSTM', 'load_convlstm']
