"""Size of the views of a config's test pipeline."""

from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from cnnlstm_mm.config import test_pipeline

FORMATS = ('NCTHW', 'NCHW')


class View(NamedTuple):
    """Crops x clips of a video, frames T of each, and their size in pixels."""

    views: int
    frames: int
    height: int
    width: int


def view_of(cfg: Config, video_size: tuple[int, int] = (240, 320), video_frames: int = 300) -> View:
    """Run a config's test pipeline on a black video; no file is read.

    Args:
        cfg: The config.
        video_size: Height and width of the video, which matter where the pipeline does not crop;
            by default those of UCF101.
        video_frames: Its length.

    Raises:
        ValueError: If the pipeline does not make frames of a video.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    results = dict(modality='RGB', label=0, start_index=0, total_frames=video_frames, avg_fps=30.0)
    results.update(dict.fromkeys(('filename', 'frame_dir', 'filename_tmpl'), ''))
    try:
        pipeline = test_pipeline(cfg)
        for step in pipeline:
            if step['type'].endswith('Decode'):
                frame = np.zeros((*video_size, 3), np.uint8)
                results.update(
                    imgs=[frame] * np.size(results['frame_inds']),
                    original_shape=video_size,
                    img_shape=video_size,
                )
            elif not step['type'].endswith(('Init', 'PackActionInputs')):
                results = Compose([step])(results)
        shape = results['imgs'].shape
        kind = next(step['input_format'] for step in pipeline if step['type'] == 'FormatShape')
        if kind not in FORMATS:
            raise ValueError(f'expected input_format to be one of {FORMATS}, got {kind!r}')
    except Exception as error:
        raise ValueError(
            f'expected a test pipeline that gives the size of a view, got {type(error).__name__}: '
            f'{error}; fix: pass shape=(frames, height, width), or --shape FRAMES HEIGHT WIDTH'
        ) from error
    if kind == 'NCTHW':
        return View(shape[0], *shape[2:])  # [views, 3, T, H, W]
    frames = results['num_clips'] * results['clip_len']
    return View(shape[0] // frames, frames, *shape[2:])  # [views*T, 3, H, W]
