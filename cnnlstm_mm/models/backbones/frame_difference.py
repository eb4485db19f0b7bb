"""Difference of each frame to the one before, as the input of a backbone."""

import torch
from torch import Tensor, nn

from cnnlstm_mm.options import check_choice

MOTIONS = ('difference', 'both')


class FrameDifference(nn.Module):
    """Let a backbone see motion: the difference to the frame before, alone or beside the frame.

    What stands still disappears from the difference, the background first of all. The first frame
    of a clip or stream has none before it: its difference is 0.

    Args:
        motion: 'difference' instead of the frame, or 'both', frame and difference stacked in
            channels.

    Raises:
        ValueError: For another ``motion``.

    Source: Islam et al., "Efficient Two-Stream Network for Violence Detection Using Separable
    Convolutional LSTM", IJCNN 2021, whose second stream sees frame differences.
    """

    def __init__(self, motion: str) -> None:
        super().__init__()
        check_choice('motion', motion, *MOTIONS)
        self.motion = motion

    def forward(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Map frames [N, C, T, H, W] to the differences, [N, C or 2C, T, H, W].

        Args:
            x: Normalized frames.
            before: The frame before the first one, [N, C, 1, H, W]; None at the start.
        """
        earlier = x[:, :, :1] if before is None else before
        if x.shape[2] > 1:
            earlier = torch.cat([earlier, x[:, :, :-1]], dim=2)
        difference = x - earlier
        return torch.cat([x, difference], dim=1) if self.motion == 'both' else difference

    def extra_repr(self) -> str:
        """The option."""
        return f'motion={self.motion!r}'


def widen_input(backbone: nn.Module) -> None:
    """Give the first convolution twice the input channels, in place.

    Weights for the old number of channels can still be loaded: the new channels start at zero,
    so that the backbone gives what it gave without them.

    Raises:
        ValueError: If the backbone has no convolution of one group.
    """
    convolutions = (m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    first = next(convolutions, None)
    if first is None or first.groups != 1:
        raise ValueError(
            "TimeDistributed(motion='both'): expected a backbone that begins with a convolution "
            f"over all channels, got {type(backbone).__name__}; fix: motion='difference'"
        )
    first.in_channels *= 2
    weight = first.weight.data
    first.weight = nn.Parameter(torch.cat([weight, torch.zeros_like(weight)], dim=1))
    first.register_load_state_dict_pre_hook(_pad)


def _pad(module: nn.Conv2d, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    weight = state.get(f'{prefix}weight')
    if weight is not None and 2 * weight.shape[1] == module.in_channels:
        state[f'{prefix}weight'] = torch.cat([weight, torch.zeros_like(weight)], dim=1)
