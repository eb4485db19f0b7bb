"""Classification heads."""
from .flatten_head import FlattenHead

__all__ = ['FlattenHead']
