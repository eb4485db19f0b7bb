"""Registered modules: backbones, necks, heads and losses."""

from . import backbones, balanced_losses, heads, necks

__all__ = ['backbones', 'balanced_losses', 'heads', 'necks']
