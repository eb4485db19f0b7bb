"""Video data sets, and readers that name broken videos."""

from .checked_rawframe_dataset import CheckedRawframeDataset
from .checked_video_dataset import CheckedVideoDataset
from .path_decord_init import PathDecordInit

__all__ = ['CheckedRawframeDataset', 'CheckedVideoDataset', 'PathDecordInit']
