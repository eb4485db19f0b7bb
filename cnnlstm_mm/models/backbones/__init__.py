"""Frame-wise backbones."""
from .mobilenet_v1 import MobileNetV1
from cnnlstm_mm.features.precomputed_features import PrecomputedFeatures
from .time_distributed import TimeDistributed

__all__ = ['MobileNetV1', 'PrecomputedFeatures', 'TimeDistributed']
