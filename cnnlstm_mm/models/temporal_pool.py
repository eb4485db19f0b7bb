"""Pooling over time: of a whole clip, and over all steps so far in constant memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .feature_input import PaddedFeature
from .stepping import State


def pool(mode: str, x: Tensor, lengths: Tensor | None, score: Tensor | None = None) -> Tensor:
    """Pool whole sequences.

    Args:
        mode: 'last', 'mean', 'max', or 'attention', the mean with the weights softmax(``score``).
        x: [N, T, ...].
        lengths: Steps of each sequence that count, [N]; None for all.
        score: [N, T], for 'attention'.

    Returns:
        [N, ...].
    """
    if mode == 'last':
        if lengths is None:
            return x[:, -1]
        return x[torch.arange(len(x), device=x.device), lengths.to(x.device) - 1]
    if mode == 'max':
        return _masked(x, lengths, -torch.inf).amax(dim=1)
    if mode == 'mean':
        if lengths is None:
            return x.mean(dim=1)
        return _masked(x, lengths, 0).sum(dim=1) / _like(lengths.to(x), x[:, 0])
    weights = _masked(score, lengths, -torch.inf).softmax(dim=1)
    weights = weights.view(*weights.shape, *[1] * (x.dim() - 2))  # [N, T, 1, ...]
    return (weights * _masked(x, lengths, 0)).sum(dim=1)


def _masked(x: Tensor, lengths: Tensor | None, value: float) -> Tensor:
    """Fill the padding of [N, T, ...]."""
    if lengths is None:
        return x
    valid = PaddedFeature.valid_mask(x.shape[1], lengths)  # [N, T]
    return x.masked_fill(~valid.view(*valid.shape, *[1] * (x.dim() - 2)), value)


class RunningPool:
    """Pools what was seen up to each step; the state is explicit.

    Args:
        mode: 'last', the step itself; 'mean'; 'max'; or 'attention', the mean weighted with the
            softmax of a score over the steps so far.

    Source: the softmax is that of Milakov and Gimelshein, "Online normalizer calculation for
    softmax", 2018. Means are updated rather than sums, which would lose precision over a long
    stream.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def init_state(
        self,
        batch: int,
        shape: Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> State:
        """Make the state before the first step, for steps [N, *shape].

        Returns:
            Zeros: ``count`` [N], int64, and for a pooling of several steps ``pooled``
            [N, *shape]; for 'attention' also ``peak`` and ``weight`` [N].
        """
        state = dict(count=torch.zeros(batch, dtype=torch.int64, device=device))
        if self.mode != 'last':
            state['pooled'] = torch.zeros(batch, *shape, dtype=dtype, device=device)
        if self.mode == 'attention':
            for name in ('peak', 'weight'):
                state[name] = torch.zeros(batch, dtype=dtype, device=device)
        return state

    def __call__(
        self, output: Tensor, state: State, score: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Go on for T steps.

        Args:
            output: [N, T, ...].
            state: The state before these steps.
            score: [N, T], for 'attention'.

        Returns:
            The pooled value after each step [N, T, ...], and the state after the last.
        """
        if self.mode == 'last':
            return output, dict(count=state['count'] + output.shape[1])
        values: list[Tensor] = []
        for t in range(output.shape[1]):
            state = self._step(output[:, t], state, None if score is None else score[:, t])
            values.append(state['pooled'])
        return torch.stack(values, dim=1), state

    def _step(self, x: Tensor, state: State, score: Tensor | None) -> State:
        count, pooled = state['count'] + 1, state['pooled']
        first = state['count'] == 0
        if self.mode == 'max':
            pooled = torch.where(_like(first, x), x, torch.maximum(pooled, x))
            return dict(count=count, pooled=pooled)
        if self.mode == 'mean':
            share = 1 / count.to(pooled.dtype)
            pooled = pooled + _like(share, x) * (x - pooled)
            return dict(count=count, pooled=pooled)
        score = score.to(pooled.dtype)
        peak = torch.where(first, score, torch.maximum(state['peak'], score))
        new = (score - peak).exp()
        weight = state['weight'] * (state['peak'] - peak).clamp(max=0).exp() + new
        pooled = pooled + _like(new / weight, x) * (x - pooled)
        return dict(count=count, pooled=pooled, peak=peak, weight=weight)


def _like(values: Tensor, x: Tensor) -> Tensor:
    """[N] to [N, 1, ...], to go with ``x`` [N, ...]."""
    return values.view(-1, *[1] * (x.dim() - 1))
