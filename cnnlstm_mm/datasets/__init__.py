"""Video data sets, readers that name broken videos, windows and pauses."""

from .checked_rawframe_dataset import CheckedRawframeDataset
from .checked_video_dataset import CheckedVideoDataset
from .frame_window import FrameWindow
from .gestures import DrawnGestureDataset
from .path_decord_init import PathDecordInit
from .pauses import AddPauses

__all__ = [
    'AddPauses',
    'CheckedRawframeDataset',
    'CheckedVideoDataset',
    'DrawnGestureDataset',
    'FrameWindow',
    'PathDecordInit',
]
