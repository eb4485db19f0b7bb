"""The test pipeline's resizing and cropping, for single frames in numpy and OpenCV."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

INTERPOLATIONS = dict(
    nearest=cv2.INTER_NEAREST,
    bilinear=cv2.INTER_LINEAR,
    bicubic=cv2.INTER_CUBIC,
    area=cv2.INTER_AREA,
    lanczos=cv2.INTER_LANCZOS4,
)
# Transforms that read, choose or pack frames and leave their pixels alone.
NOT_OF_PIXELS = (
    'Init',
    'Decode',
    'SampleFrames',
    'UniformSample',
    'FormatShape',
    'PackActionInputs',
)

Size = tuple[int, int]


class FrameTransform:
    """Resize and crop frames as a config's test pipeline does.

    The result equals MMAction2's to the bit: the same OpenCV call, the same rounding. Of
    ``ThreeCrop`` the middle crop is taken.

    Args:
        steps: in order, ``dict(type='Resize', scale=[w, h] or a factor, keep_ratio,
            interpolation)`` and ``dict(type='CenterCrop', crop_size=[w, h])``: plain values, so
            that they can be stored as JSON.

    Raises:
        ValueError: for another step.
    """

    def __init__(self, steps: Sequence[dict[str, Any]]) -> None:
        self.steps: list[dict[str, Any]] = [dict(step) for step in steps]
        for step in self.steps:
            if step['type'] not in ('Resize', 'CenterCrop'):
                raise ValueError(f'expected Resize or CenterCrop, got the step {step!r}')

    @classmethod
    def from_pipeline(cls, pipeline: Sequence[dict]) -> 'FrameTransform':
        """Create one from the configs of a pipeline's transforms, such as ``cfg.test_pipeline``.

        Raises:
            ValueError: for a transform that changes frames in another way, with its name.
        """
        steps: list[dict[str, Any]] = []
        for transform in pipeline:
            kind = transform['type']
            if kind.endswith(NOT_OF_PIXELS):
                continue
            if kind == 'Resize' and not transform.get('lazy'):
                scale = transform['scale']
                steps.append(
                    dict(
                        type='Resize',
                        scale=scale if isinstance(scale, float) else [int(side) for side in scale],
                        keep_ratio=transform.get('keep_ratio', True),
                        interpolation=transform.get('interpolation', 'bilinear'),
                    )
                )
            elif kind in ('CenterCrop', 'ThreeCrop') and not transform.get('lazy'):
                size = transform['crop_size']
                size = [size] * 2 if isinstance(size, int) else list(size)
                steps.append(dict(type='CenterCrop', crop_size=size))
            else:
                raise ValueError(
                    'expected Resize, CenterCrop and ThreeCrop without lazy=True in a test '
                    f'pipeline that runs frame by frame, got {dict(transform)}'
                )
        return cls(steps)

    @property
    def size(self) -> Size | None:
        """(height, width) of the result; None if it depends on the source."""
        if self.steps:
            last = self.steps[-1]
            if last['type'] == 'CenterCrop':
                return tuple(last['crop_size'][::-1])
            if not last['keep_ratio']:
                return tuple(last['scale'][::-1])
        return None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Transform one frame, RGB uint8 [H, W, 3] of any size, to uint8 [h, w, 3].

        Raises:
            ValueError: for another array, or a frame smaller than a crop.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or (frame.dtype != np.uint8):
            raise ValueError(
                f'expected a frame in RGB, uint8 [H, W, 3], got {frame.dtype} '
                f'{list(frame.shape)}; fix: OpenCV gives BGR, '
                'cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)'
            )
        for step in self.steps:
            height, width = frame.shape[:2]
            if step['type'] == 'Resize':
                size = resized((width, height), step['scale'], step['keep_ratio'])
                frame = cv2.resize(frame, size, interpolation=INTERPOLATIONS[step['interpolation']])
            else:
                w, h = step['crop_size']
                if w > width or h > height:
                    raise ValueError(
                        f'expected a frame of at least the crop, got {width}x{height} for a crop '
                        f'of {w}x{h}; fix: put a Resize before it into the test pipeline'
                    )
                left, top = (width - w) // 2, (height - h) // 2
                frame = frame[top : top + h, left : left + w]
        return frame


def resized(size: Size, scale: float | Sequence[int], keep_ratio: bool) -> Size:
    """Compute the (width, height) that MMAction2's Resize gives a frame.

    Args:
        size: (width, height) of the frame.
        scale: a factor, or (w, h); -1 for one of them leaves the longer side free.
        keep_ratio: fits the frame into (w, h) instead of changing its aspect ratio.
    """
    if not keep_ratio:
        return tuple(scale)
    factor = scale
    if not isinstance(scale, float):
        long, short = max(scale), min(scale)
        if short == -1:
            long, short = np.inf, long
        factor = min(long / max(size), short / min(size))
    return tuple(int(side * float(factor) + 0.5) for side in size)
