"""Frame-wise backbones."""

from .mobilenet_v1 import MobileNetV1
from .time_distributed import TimeDistributed

__all__ = ['MobileNetV1', 'TimeDistributed']
