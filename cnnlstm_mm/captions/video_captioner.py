"""Recognizer that writes captions."""

from typing import Any

from cnnlstm_mm.models.necks import RecurrentNeck
from mmaction.models.recognizers import Recognizer3D
from mmaction.registry import MODELS


@MODELS.register_module()
class VideoCaptioner(Recognizer3D):
    """A frame-wise backbone, a recurrent neck that returns all steps (or no neck), a caption head.

    Args:
        **kwargs: Of Recognizer3D; ``cls_head`` is the config of a :class:`CaptionHead`.

    Raises:
        ValueError: For a neck that returns one step.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        neck = getattr(self, 'neck', None)
        if isinstance(neck, RecurrentNeck) and not neck.every_step:
            raise ValueError(
                'VideoCaptioner: expected a neck that returns all steps, which the decoder attends '
                f'to, got {type(neck).__name__}({neck.pool_option}={neck.temporal_pool!r}); fix: '
                f"{neck.pool_option}='sequence'"
            )
