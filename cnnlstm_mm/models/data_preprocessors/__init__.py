"""What stands between the data loader and a recognizer."""
from .feature_data_preprocessor import FeatureDataPreprocessor

__all__ = ['FeatureDataPreprocessor']
