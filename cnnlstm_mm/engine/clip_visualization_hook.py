"""Annotated clips during validation and testing."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmaction.registry import HOOKS
from mmaction.structures import ActionDataSample


@HOOKS.register_module()
class ClipVisualizationHook(Hook):
    """Draw predictions on the clips that the model saw.

    MMAction2's VisualizationHook fails on the [views, C, T, H, W] of
    ``FormatShape(input_format='NCTHW')``, and passes its visualizer an argument that this one does
    not take. The first view of a video is drawn, as one picture per frame. ``cnnlstm-mm test
    --show-dir`` enables it.

    Args:
        enable: Whether to draw at all.
        interval: Draw every so many videos.
        show: Show the frames in a window.
        wait_time: Seconds to show the last frame for.
        out_dir: Where to save, if not with the backends of the visualizer.
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 5000,
        show: bool = False,
        wait_time: float = 2.0,
        out_dir: str | None = None,
    ) -> None:
        self.enable = enable
        self.interval = interval
        self.show = show
        self.wait_time = wait_time
        self.out_dir = out_dir
        self._files: dict[str, str] = {}  # drawn, by the last part of their names

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[ActionDataSample]
    ) -> None:
        """Draw after a validation step; the epoch goes into the name."""
        first = batch_idx * runner.val_loop.dataloader.batch_size
        self._draw(first, data_batch, outputs, runner.epoch)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[ActionDataSample]
    ) -> None:
        """Draw after a test step."""
        first = batch_idx * runner.test_loop.dataloader.batch_size
        self._draw(first, data_batch, outputs, 0)

    def _draw(
        self, first: int, data_batch: dict, outputs: Sequence[ActionDataSample], step: int
    ) -> None:
        if not self.enable:
            return
        clips = zip(data_batch['inputs'], outputs)
        for k, (clip, sample) in enumerate(clips, start=first):
            if k % self.interval:
                continue
            file = sample.get('filename', str(k))
            name = osp.basename(file)
            if self._files.setdefault(name, file) != file:  # as in a folder of another class
                name = file.strip('/').replace('/', '_')
            path: Any = None
            if self.out_dir is not None:
                path = osp.join(self.out_dir, f'{name}_{step}')
            Visualizer.get_current_instance().add_datasample(
                name,
                # [views, C, T, H, W] -> [T, H, W, C]
                clip[0].permute(1, 2, 3, 0).byte().cpu().numpy(),
                sample,
                show_frames=self.show,
                wait_time=self.wait_time,
                out_path=path,
                step=step,
            )
