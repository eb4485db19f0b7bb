"""Weights that Keras saved, for the modules of this package."""

from .converter import convert

__all__ = ['convert']
