"""What the test pipeline does to a frame, on frames that are in memory.

It needs numpy and OpenCV alone.
"""

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

    The result is MMAction2's to the bit: the same OpenCV call, the same
    rounding. Of ``ThreeCrop`` the middle crop is taken.

    Args:
        steps (list[dict]): ``dict(type='Resize', scale=[w, h] or a factor,
            keep_ratio, interpolation)`` and ``dict(type='CenterCrop',
            crop_size=[w, h])``, in their order. Plain values: ``steps`` of
            a transform can be written as JSON and read again.

    Raises:
        ValueError: For another step.
    """

    def __init__(self, steps: Sequence[dict[str, Any]]) -> None:
        self.steps: list[dict[str, Any]] = [dict(step) for step in steps]
        for step in self.steps:
            if step['type'] not in ('Resize', 'CenterCrop'):
                raise ValueError(f'unknown step {step!r}')

    @classmethod
    def from_pipeline(cls, pipeline: Sequence[dict]) -> 'FrameTransform':
        """Read the steps out of a pipeline.

        Args:
            pipeline (Sequence[dict]): Configs of transforms, such as
                ``cfg.test_pipeline``.

        Returns:
            FrameTransform: With its resizing and cropping.

        Raises:
            ValueError: For a transform that changes frames in a way that is
                not known here, by its name.
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
                    f'the test pipeline has {dict(transform)}, which cannot '
                    'be done frame by frame here: use Resize, CenterCrop and '
                    'ThreeCrop (of which the middle crop is taken), without '
                    'lazy=True.'
                )
        return cls(steps)

    @property
    def size(self) -> Size | None:
        """(height, width) of the result, None if the source decides."""
        if self.steps:
            last = self.steps[-1]
            if last['type'] == 'CenterCrop':
                return tuple(last['crop_size'][::-1])
            if not last['keep_ratio']:
                return tuple(last['scale'][::-1])
        return None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Transform one frame.

        Args:
            frame (ndarray): RGB, uint8 [H, W, 3], of any size.

        Returns:
            ndarray: uint8 [h, w, 3].

        Raises:
            ValueError: If it is no such frame, or smaller than a crop.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or (frame.dtype != np.uint8):
            raise ValueError(
                'a frame must be RGB, uint8 [H, W, 3], got '
                f'{frame.dtype} {list(frame.shape)}. OpenCV gives BGR: '
                'cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).'
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
                        f'a frame of {width}x{height} is smaller than the '
                        f'crop of {w}x{h}: put a Resize before it into the '
                        'test pipeline.'
                    )
                left, top = (width - w) // 2, (height - h) // 2
                frame = frame[top : top + h, left : left + w]
        return frame


def resized(size: Size, scale: float | Sequence[int], keep_ratio: bool) -> Size:
    """The (width, height) that MMAction2's Resize gives a frame.

    Args:
        size (tuple[int]): (width, height) of the frame.
        scale (float or Sequence[int]): A factor, or (w, h); -1 for one of
            them leaves the longer side free.
        keep_ratio (bool): Whether to fit the frame into (w, h) or to change
            its aspect ratio.

    Returns:
        tuple[int]: The new (width, height).
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
