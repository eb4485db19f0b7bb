"""Feature store: extraction, files, and the modules that train on them."""

from .cached_feature_dataset import CachedFeatureDataset
from .feature_data_preprocessor import FeatureDataPreprocessor
from .precomputed_features import PrecomputedFeatures

__all__ = ['CachedFeatureDataset', 'FeatureDataPreprocessor', 'PrecomputedFeatures']
