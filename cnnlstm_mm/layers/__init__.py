"""Layers that need PyTorch alone."""

from .conv_lstm import ConvLSTM
from .min_conv_lstm import MinConvLSTM

__all__ = ['ConvLSTM', 'MinConvLSTM']
