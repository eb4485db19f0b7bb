"""Pictures of the attention: which frames each word of a caption was written from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cnnlstm_mm.lab.figures import Figure

from .vocabulary import BOS, EOS

ROW = 0.6  # height of a row of the map, in widths of its columns


class Attention(NamedTuple):
    """A clip, its caption and what the decoder attended to.

    Attributes:
        frames: uint8 RGB [T, H, W, 3].
        words: The caption's words, and '.', its end.
        weights: [words, T], each row sums to 1.
    """

    frames: np.ndarray
    words: list[str]
    weights: np.ndarray


@torch.no_grad()
def find_attention(model: nn.Module, data: dict[str, Any]) -> Attention:
    """Caption a clip and keep the attention, summed over the positions of a frame.

    Args:
        model: A VideoCaptioner in evaluation mode.
        data: The result of its test pipeline: ``inputs``, uint8 [1, 3, T, H, W], and
            ``data_samples``.

    Raises:
        ValueError: For a head without attention.
    """
    head = model.cls_head
    if head.attend == 'mean':
        raise ValueError("expected attend='time' or 'space_time', got 'mean', without attention")
    batch = model.data_preprocessor(
        dict(inputs=[data['inputs']], data_samples=[data['data_samples']]), False
    )
    feature, _ = model.extract_feat(batch['inputs'], test_mode=True)
    memory, mask = head.memory(feature)
    (best, *_), *_ = head.write(memory, mask)
    read = torch.tensor([[BOS, *best.words]], device=memory.device)
    weights: Tensor = head.attention(memory, mask, read)[0]  # [L, P]
    steps = data['inputs'].shape[2]
    per_step = weights.view(len(weights), steps, -1).sum(2) if head.attend != 'time' else weights
    words = [head.vocabulary.words[n] if n != EOS else '.' for n in (*best.words, EOS)]
    frames = data['inputs'][0].permute(1, 2, 3, 0).numpy()
    return Attention(frames, words, per_step.cpu().numpy())


def attention_figure(clips: Sequence[Attention]) -> Figure:
    """Frames of each clip above a map of words by frames; brighter is more."""
    across = 2 if len(clips) > 1 and max(len(clip.frames) for clip in clips) <= 12 else 1
    down = -(-len(clips) // across)
    figure = Figure(figsize=(11, 4 * down), layout='constrained')
    grid = figure.subplots(down, across, squeeze=False).flat
    for axes in grid[len(clips) :]:
        axes.remove()
    for axes, clip in zip(grid, clips):
        steps, (height, width) = len(clip.frames), clip.frames.shape[1:3]
        strip = np.concatenate(list(clip.frames), axis=1)
        rows = len(clip.words)
        tall = height / width / ROW  # of the strip, in rows of the map
        axes.imshow(clip.weights, cmap='magma', vmin=0, aspect='auto', extent=(0, steps, rows, 0))
        axes.imshow(strip, aspect='auto', extent=(0, steps, 0, -tall))
        axes.set(xlim=(0, steps), ylim=(rows, -tall))
        axes.set_yticks(np.arange(rows) + 0.5, clip.words)
        axes.set_xticks(np.arange(steps) + 0.5, [str(n) for n in range(1, steps + 1)])
        axes.tick_params(length=0)
        axes.set_box_aspect((rows + tall) * ROW / steps)
    return figure
