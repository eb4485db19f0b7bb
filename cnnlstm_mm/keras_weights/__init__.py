"""Conversion of models and weights that Keras saved."""

from .converter import convert

__all__ = ['convert']
