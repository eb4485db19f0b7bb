"""Captions: vocabulary, data, model, metric, streams."""

from .caption_dataset import CaptionDataset
from .caption_head import CaptionHead
from .caption_metric import CaptionMetric
from .video_captioner import VideoCaptioner
from .vocabulary_hook import VocabularyHook

__all__ = ['CaptionDataset', 'CaptionHead', 'CaptionMetric', 'VideoCaptioner', 'VocabularyHook']
