"""Registered modules: backbones, necks and heads."""
from . import backbones, data_preprocessors, heads, necks

__all__ = ['backbones', 'data_preprocessors', 'heads', 'necks']
