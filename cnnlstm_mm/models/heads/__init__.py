"""Classification heads."""

from .flatten_head import FlattenHead
from .per_step_head import PerStepHead

__all__ = ['FlattenHead', 'PerStepHead']
