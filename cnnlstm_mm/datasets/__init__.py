"""Data sets that name what is broken, and that read precomputed features."""
from cnnlstm_mm.features.cached_feature_dataset import CachedFeatureDataset
from .checked_video_dataset import CheckedVideoDataset
from .path_decord_init import PathDecordInit

__all__ = ['CachedFeatureDataset', 'CheckedVideoDataset', 'PathDecordInit']
