"""Pauses around clips, which teach a class for "nothing is happening"."""

from typing import Any

import cv2
import numpy as np

from cnnlstm_mm.options import check_fraction, check_int
from mmaction.registry import TRANSFORMS

KINDS = ('frozen', 'black', 'flat', 'noise')


@TRANSFORMS.register_module()
class AddPauses:
    """Put a pause before and after a decoded clip, and label each frame.

    A pause is a frozen picture of the clip, black, one colour, or noise (new in each frame, or
    standing still), under a little noise of a sensor in every second one. The clip keeps its
    label; frames of a pause get ``none_class``. For PerStepHead with ``step_labels=True``; it
    stands behind the resizing of the train pipeline, whose SampleFrames has ``num_clips=1``.

    Args:
        none_class: The label of pauses, one more than those of the list.
        length: Frames of the result, from the clip's length; where the clip begins is random.
        none_ratio: Share of samples that are one pause from begin to end.

    Raises:
        ValueError: For options out of range, for several clips or a clip longer than ``length``.
    """

    def __init__(self, none_class: int, length: int, none_ratio: float = 0.1) -> None:
        check_int(length=length)
        check_int(0, none_class=none_class)
        check_fraction(none_ratio=none_ratio)
        self.none_class, self.length, self.none_ratio = none_class, length, none_ratio

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``imgs``, ``clip_len`` and ``label``, the last by an array [length]."""
        clip = list(results['imgs'])
        if results['num_clips'] != 1 or len(clip) > self.length:
            raise ValueError(
                f'AddPauses: expected one clip of at most length={self.length} frames, got '
                f'{results["num_clips"]} of {len(clip)} frames in all; fix: set num_clips=1 in '
                'SampleFrames, or a larger length'
            )
        if np.random.rand() < self.none_ratio:
            kept, before = [], np.random.randint(self.length + 1)
        else:
            kept, before = clip, np.random.randint(self.length - len(clip) + 1)
        after = self.length - before - len(kept)
        results['imgs'] = pause(clip[0], before) + kept + pause(clip[-1], after)
        results['clip_len'] = self.length
        results['label'] = np.repeat(
            [self.none_class, results['label'], self.none_class], [before, len(kept), after]
        )
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(none_class={self.none_class}, length={self.length}, '
            f'none_ratio={self.none_ratio})'
        )


def pause(picture: np.ndarray, frames: int, kind: str | None = None) -> list[np.ndarray]:
    """Draw ``frames`` pictures of a pause like ``picture``, uint8 [h, w, 3].

    Args:
        picture: The one that is frozen, and the size of the others.
        frames: Their number.
        kind: One of ``KINDS``; None: by chance, 'frozen' in half of the cases.
    """
    kind = kind or np.random.choice(KINDS, p=[0.5, 0.2, 0.1, 0.2])
    still = dict(black=0, flat=np.random.randint(256, size=3)).get(kind)
    if kind == 'noise':
        grain = int(np.random.choice([1, 2, 4, 8]))
        steady = np.random.rand() < 0.3
        drawn = [noise(picture.shape, grain) for _ in range(min(frames, 1) if steady else frames)]
        return drawn * frames if steady else drawn
    base = picture if still is None else np.full_like(picture, still)
    spread = np.random.choice([0, 0, 2, 6])
    if not spread:
        return [base.copy() for _ in range(frames)]
    return [
        (base + np.random.normal(0, spread, base.shape)).clip(0, 255).astype(np.uint8)
        for _ in range(frames)
    ]


def noise(shape: tuple[int, ...], grain: int) -> np.ndarray:
    """Draw uniform noise, uint8 [h, w, 3], in squares of ``grain`` pixels."""
    height, width = -(-shape[0] // grain), -(-shape[1] // grain)
    small = np.random.randint(256, size=(height, width, 3), dtype=np.uint8)
    return cv2.resize(small, (width * grain, height * grain), interpolation=cv2.INTER_NEAREST)[
        : shape[0], : shape[1]
    ]
