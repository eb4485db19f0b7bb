"""What the necks take, and what they refuse with the cure in the message."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class PaddedFeature(NamedTuple):
    """A batch of sequences of different lengths, padded at their ends.

    Attributes:
        feature (Tensor): [N, C, T, h, w]; what the padding holds is free.
        lengths (Tensor): [N], how many steps of each sequence count, 1 to T.
    """

    feature: Tensor
    lengths: Tensor

    def there(self) -> Tensor:
        """Which steps count: bool [N, T]."""
        steps = torch.arange(self.feature.shape[2], device=self.lengths.device)
        return steps < self.lengths[:, None]


def select_feature(
    x: Any, in_index: int, in_channels: int, neck: str
) -> tuple[Tensor, Tensor | None]:
    """Take one stage of the backbone's output and check it.

    Args:
        x (Tensor, tuple[Tensor] or PaddedFeature): The backbone's output,
            [N, C, T, h, w], a tuple of these, or one with lengths.
        in_index (int): Which stage of a tuple to take.
        in_channels (int): The channels C that the neck was built for.
        neck (str): The neck's name, for the messages.

    Returns:
        tuple: The feature [N, C, T, h, w], 0 where a sequence is padded, and
        the lengths [N] of its sequences, or None where all have T steps.

    Raises:
        TypeError: For a list, which only Recognizer2D makes: it puts all
            views of a video into one sequence (and iterates over the batch
            where the backbone returns one tensor); for a stage that is no
            tensor.
        ValueError: For a wrong stage, rank or number of channels, or two
            pathways.
    """
    if isinstance(x, list):
        raise TypeError(
            f'{neck} got a list of {len(x)} features, as Recognizer2D makes '
            'them: it runs all crops and clips of a video together as one '
            'sequence. Use type="Recognizer3D" with backbone=dict('
            'type="TimeDistributed", backbone=...) and NCTHW inputs.'
        )
    lengths = None
    if isinstance(x, PaddedFeature):
        there = x.there()[:, None, :, None, None]  # [N, 1, T, 1, 1]
        lengths, x = x.lengths, x.feature.masked_fill(~there, 0)
    elif isinstance(x, tuple):
        if not -len(x) <= in_index < len(x):
            raise ValueError(
                f'{neck} has in_index={in_index}, but the backbone returns '
                f'{len(x)} stages: set in_index, or out_indices of the '
                'backbone.'
            )
        if _are_pathways(x):
            raise ValueError(
                f'{neck} got two pathways of {x[0].shape[2]} and '
                f'{x[1].shape[2]} steps, as SlowFast returns them, which are '
                'no one sequence: use ResNet3dSlowOnly.'
            )
        x = x[in_index]
    if not isinstance(x, Tensor):
        raise TypeError(
            f'{neck} got a {type(x).__name__} for a feature and needs a '
            'tensor [N, C, T, h, w]. For MViT set output_cls_token=False.'
        )
    if x.dim() == 2:
        raise ValueError(
            f'{neck} got a feature of shape {tuple(x.shape)}, one vector a '
            'clip, in which time is gone, and needs [N, C, T, h, w]. Use a '
            'backbone that keeps it (docs/matrix.md); for VisionTransformer '
            'set return_feat_map=True.'
        )
    if x.dim() != 5:
        raise ValueError(
            f'{neck} got a feature of shape {tuple(x.shape)} and needs '
            '[N, C, T, h, w]. Wrap a 2-D backbone in '
            'TimeDistributed(backbone=...) and use type="Recognizer3D".'
        )
    if x.shape[1] != in_channels:
        raise ValueError(
            f'{neck} was built with in_channels={in_channels}, but the '
            f'backbone gives {x.shape[1]} channels (a feature of shape '
            f'{tuple(x.shape)}): set in_channels={x.shape[1]}.'
        )
    return x, lengths


def _are_pathways(stages: tuple) -> bool:
    """Whether they have the same map size and different numbers of steps.
    Stages of one backbone shrink in space before they do in time.
    """
    if len(stages) != 2 or not all(isinstance(x, Tensor) and x.dim() == 5 for x in stages):
        return False
    slow, fast = stages
    return slow.shape[3:] == fast.shape[3:] and slow.shape[2] != fast.shape[2]


def select_steps(x: Any, in_index: int, in_channels: int, neck: str) -> Tensor:
    """:func:`select_feature` for steps that go on from a state.

    Args:
        x (Tensor or tuple[Tensor]): The backbone's output.
        in_index (int): Which stage of a tuple to take.
        in_channels (int): The channels C that the neck was built for.
        neck (str): The neck's name, for the messages.

    Returns:
        Tensor: The feature [N, C, T, h, w].

    Raises:
        TypeError, ValueError: See :func:`select_feature`; ValueError for
            sequences with lengths, too.
    """
    x, lengths = select_feature(x, in_index, in_channels, neck)
    if lengths is not None:
        raise ValueError(
            f'{neck}.forward_steps takes steps that all samples have, not '
            'padded sequences: select the samples that go on.'
        )
    return x
