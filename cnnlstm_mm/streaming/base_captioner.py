"""Captions while videos run, in any array library."""

from typing import Any

from .base_recognizer import BaseStreamingRecognizer
from .caption_state import CaptionState

Captions = list[dict[str, Any]]  # caption, log_prob and score, the best first


class BaseStreamingCaptioner:
    """Encodes the frames of a batch of streams; writes a caption whenever it is asked for.

    A frame costs one step of the encoder, a caption one run of the decoder.

    Args:
        encoder: steps whose scores are what the decoder attends to.
        channels: C of the memory.
        attend: see :class:`CaptionHead`.
        max_steps: most steps that are kept of each stream, the newest; None keeps all, so that the
            state grows with the stream.

    Raises:
        ValueError: for ``max_steps`` under 1.
    """

    def __init__(
        self,
        encoder: BaseStreamingRecognizer,
        channels: int,
        attend: str,
        max_steps: int | None = None,
    ) -> None:
        if max_steps is not None and max_steps < 1:
            raise ValueError(f'expected max_steps to be at least 1 or None, got {max_steps}')
        self.encoder, self.channels, self.attend = encoder, channels, attend
        self.max_steps = max_steps

    def step(self, frames: Any, state: CaptionState | None = None) -> CaptionState:
        """Take the next frame of each stream, see :meth:`StreamingRecognizer.step`."""
        rows, encoder = self.encoder.step(frames, None if state is None else state.encoder)
        return self._append(state, rows[:, None], encoder)

    def steps(self, chunk: Any, state: CaptionState | None = None) -> CaptionState:
        """Take the next T frames of each stream, see :meth:`StreamingRecognizer.steps`."""
        rows, encoder = self.encoder.steps(chunk, None if state is None else state.encoder)
        return self._append(state, rows, encoder)

    def caption(self, state: CaptionState) -> list[Captions]:
        """Describe what each stream has shown so far.

        Returns:
            For each stream dicts of ``caption``, ``log_prob`` and ``score``, the best first.

        Raises:
            ValueError: for a stream without a frame.
        """
        early = [number for number, rows in enumerate(state.memory) if not len(rows)]
        if early:
            raise ValueError(f'expected at least one frame of each stream, got none of {early}')
        # [T, P*C] -> [T*P, C]
        memory = [rows.reshape(-1, self.channels) for rows in state.memory]
        if self.attend == 'mean':
            memory = [rows.mean(0)[None] for rows in memory]
        longest = max(map(len, memory))
        xp = self.encoder.State.xp
        padded, mask = [], []
        for rows in memory:
            more = longest - len(rows)
            padded.append(xp.concatenate([rows, *[xp.zeros_like(rows[:1])] * more]))
            mask.append([True] * len(rows) + [False] * more)
        return self._write(xp.stack(padded), mask)

    def _append(self, state: CaptionState | None, rows: Any, encoder: Any) -> CaptionState:
        memory = list(rows)
        if state is not None:
            pairs = zip(state.memory, memory)
            memory = [self.encoder.State.xp.concatenate([old, new]) for old, new in pairs]
        if self.max_steps is not None:
            memory = [rows[-self.max_steps :] for rows in memory]
        return CaptionState(encoder, tuple(memory))

    def _write(self, memory: Any, mask: list[list[bool]]) -> list[Captions]:
        """Write captions from memory [N, P, C], with False in the mask where it is padded."""
        raise NotImplementedError
