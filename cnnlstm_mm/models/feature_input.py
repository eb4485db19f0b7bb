"""Input of the necks: selection and checks of a backbone's output."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class PaddedFeature(NamedTuple):
    """Batch of sequences of different lengths, padded at their ends.

    Attributes:
        feature: [N, C, T, h, w]; its values in the padding are ignored.
        lengths: Steps of each sequence that count, [N], 1 to T.
    """

    feature: Tensor
    lengths: Tensor

    @staticmethod
    def valid_mask(steps: int, lengths: Tensor) -> Tensor:
        """Bool [N, ``steps``], False in the padding."""
        return torch.arange(steps, device=lengths.device) < lengths[:, None]


Feature = Tensor | tuple[Tensor, ...] | PaddedFeature


def select_feature(
    x: Any, in_index: int, in_channels: int, neck: str
) -> tuple[Tensor, Tensor | None]:
    """Take one stage of a backbone's output and check it.

    Args:
        x: The output: [N, C, T, h, w], a tuple of these, or a :class:`PaddedFeature`.
        in_index: Stage of a tuple to take.
        in_channels: Channels C that the neck was built for.
        neck: The neck's name, for the messages.

    Returns:
        The feature [N, C, T, h, w], 0 where a sequence is padded, and the lengths [N] of its
        sequences, or None where all have T steps.

    Raises:
        TypeError: For a list, which only Recognizer2D makes: it puts all views of a video into
            one sequence (and iterates over the batch where the backbone returns one tensor); for
            a stage other than a tensor.
        ValueError: For a wrong stage, rank or number of channels, or two pathways.
    """
    if isinstance(x, list):
        raise TypeError(
            f'{neck}: expected a tensor [N, C, T, h, w], got a list of {len(x)} features, as '
            'Recognizer2D makes them, which runs all crops and clips of a video together as one '
            'sequence; fix: type="Recognizer3D" with backbone=dict(type="TimeDistributed", '
            'backbone=...) and NCTHW inputs'
        )
    lengths = None
    if isinstance(x, PaddedFeature):
        lengths = x.lengths
        valid = PaddedFeature.valid_mask(x.feature.shape[2], lengths)
        x = x.feature.masked_fill(~valid[:, None, :, None, None], 0)
    elif isinstance(x, tuple):
        if not -len(x) <= in_index < len(x):
            raise ValueError(
                f'{neck}: expected in_index within the {len(x)} stages of the backbone, got '
                f'in_index={in_index}; fix: set in_index, or out_indices of the backbone '
                f'({len(x)} stages)'
            )
        if _are_pathways(x):
            raise ValueError(
                f'{neck}: expected one sequence, got two pathways of {x[0].shape[2]} and '
                f'{x[1].shape[2]} steps, as SlowFast returns them; fix: use ResNet3dSlowOnly'
            )
        x = x[in_index]
    if not isinstance(x, Tensor):
        raise TypeError(
            f'{neck}: expected a tensor [N, C, T, h, w], got a {type(x).__name__}; fix: for MViT '
            'set output_cls_token=False'
        )
    if x.dim() == 2:
        raise ValueError(
            f'{neck}: expected [N, C, T, h, w], got {tuple(x.shape)}, one vector a clip without '
            'time; fix: a backbone that keeps time (docs/matrix.md); for VisionTransformer set '
            'return_feat_map=True'
        )
    if x.dim() != 5:
        raise ValueError(
            f'{neck}: expected [N, C, T, h, w], got {tuple(x.shape)}; fix: wrap a 2-D backbone in '
            'TimeDistributed(backbone=...) and use type="Recognizer3D"'
        )
    if x.shape[1] != in_channels:
        raise ValueError(
            f'{neck}: expected the in_channels={in_channels} that it was built with, got '
            f'{x.shape[1]} channels in a feature of shape {tuple(x.shape)}; fix: set '
            f'in_channels={x.shape[1]}, or leave in_channels out'
        )
    return x, lengths


def _are_pathways(stages: tuple) -> bool:
    """Whether two stages have one map size and different numbers of steps.

    Stages of one backbone shrink in space before they do in time.
    """
    if len(stages) != 2 or not all(isinstance(x, Tensor) and x.dim() == 5 for x in stages):
        return False
    slow, fast = stages
    return slow.shape[3:] == fast.shape[3:] and slow.shape[2] != fast.shape[2]
