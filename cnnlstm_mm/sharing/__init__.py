"""Trained models as folders that others can read: weights, config, class names and a card."""

from .bundle import Bundle, read_bundle, write_bundle
from .card import write_card
from .hub import fetch_bundle, upload_bundle

__all__ = ['Bundle', 'fetch_bundle', 'read_bundle', 'upload_bundle', 'write_bundle', 'write_card']
