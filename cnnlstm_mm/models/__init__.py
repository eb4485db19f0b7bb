"""Registered modules: backbones, necks and heads."""

from . import backbones, heads, necks

__all__ = ['backbones', 'heads', 'necks']
