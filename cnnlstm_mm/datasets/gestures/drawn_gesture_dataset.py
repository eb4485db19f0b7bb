"""Data set of clips that are drawn while they are read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from cnnlstm_mm.options import check_int
from mmaction.registry import DATASETS

from .drawing import draw_clip
from .paths import NAMES, check_name, draw_path


@DATASETS.register_module()
class DrawnGestureDataset(BaseDataset):
    """Clips of a hand that traces a gesture, drawn while they are read: no file is needed.

    Backgrounds, hands, light and camera are random, and so are size, place and speed of the
    gesture, which only the order of the frames tells. In training each epoch draws clips of its
    own, from the random state of numpy, which the training loop sets for each sample; in test mode
    a clip depends on ``seed`` and its place alone.

    Args:
        length: Number of clips; the classes take turns.
        classes: Gestures in the order of their labels, see :func:`draw_path`.
        frames: Frames of a clip.
        size: (height, width) of a frame in pixels.
        seed: Of the clips in test mode.
        **kwargs: ``pipeline``, ``test_mode`` and others of mmengine's BaseDataset.

    Raises:
        ValueError: For an unknown gesture or a number out of range.
    """

    def __init__(
        self,
        length: int,
        classes: Sequence[str] = NAMES,
        frames: int = 16,
        size: tuple[int, int] = (64, 80),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check_int(length=length, frames=frames, height=size[0], width=size[1])
        check_int(0, seed=seed)
        for name in classes:
            check_name(name)
        self.length, self.classes = length, tuple(classes)
        self.frames, self.size, self.seed = frames, (size[0], size[1]), seed
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """``label`` and ``filename``, a name for messages, of each clip."""
        labels = [k % len(self.classes) for k in range(self.length)]
        return [
            dict(label=label, filename=f'drawn {self.classes[label]} {k}')
            for k, label in enumerate(labels)
        ]

    def prepare_data(self, idx: int) -> Any:
        """Draw the clip at ``idx`` and run the pipeline on it."""
        info = self.get_data_info(idx)
        key = [self.seed, idx] if self.test_mode else np.random.randint(2**31, size=4).tolist()
        rng = np.random.default_rng(key)
        path = draw_path(self.classes[info['label']], self.frames, rng)
        return self.pipeline(
            dict(
                info,
                imgs=list(draw_clip(path, self.size, rng)),
                original_shape=self.size,
                img_shape=self.size,
                num_clips=1,
                clip_len=self.frames,
                modality='RGB',
            )
        )
