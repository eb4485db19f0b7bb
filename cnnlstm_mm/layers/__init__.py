"""Layers that need PyTorch alone."""

from .conv_lstm import ConvLSTM

__all__ = ['ConvLSTM']
