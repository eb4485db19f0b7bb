"""Base class of the recurrent necks."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cnnlstm_mm.models.feature_input import Feature, select_feature
from cnnlstm_mm.models.stepping import Size, State, run_truncated
from cnnlstm_mm.models.temporal_pool import RunningPool, pool
from cnnlstm_mm.options import MAX_INT, check_bool, check_int, check_number
from mmaction.utils import OptSampleList

from .deferred_neck import DeferredNeck


class RecurrentNeck(BaseModule):
    """Recurrence over time between a backbone and a 5-D head.

    A subclass is its recurrence: ``__init__`` calls this one and then builds its modules,
    :meth:`initial` makes the state and :meth:`run` goes on from it. Everything else comes from
    here: checked input, padded batches, pooling over time, the residual, truncated
    backpropagation, single steps. The rest of the package (``check_fit``, feature store, streams,
    export, report) asks for this class, never for a neck's name. CONTRIBUTING.md has an example.

    Args:
        in_channels: Channels C of the backbone's feature; None takes those of the backbone that
            the recognizer builds.
        run_channels: Channels of :meth:`run`'s output, both directions together.
        temporal_pool: One of ``pools``: 'last' step, 'mean' or 'max' over time, or 'sequence',
            all steps.
        residual: The output is the mean of the input over time (and over the frame, unless the
            neck keeps space; in 'sequence' the step's own input) plus a projection of the pooled
            recurrence, which starts at zero: an untrained neck is the averaging model.
        tbptt_len: Frames of a clip in truncated backpropagation through time: in training, a
            sample is a row of clips, and gradients stop at their borders. Needs 'sequence'.
        carry_prob: Probability, for each sample and border, that the next clip goes on with the
            state rather than from zero: 1 for endless streams, less for streams that are reset.
        in_index: Stage of a multi-stage backbone.
        init_cfg: mmengine's initialization config.

    Attributes:
        keeps_space: Whether the output is a map [h', w']; False for one vector per frame.
        pools: Accepted values of ``temporal_pool``.
        pool_option: Name of that option in this neck's config.
        display_name: Name in tables; by default the class's without 'Neck'.
        bidirectional: Whether the second half of the output's channels runs from the last frame.
        go_backwards: Whether the recurrence runs from the last frame only.
        out_channels: Channels of the neck's output.

    Raises:
        ValueError: For an option out of range, or ``tbptt_len`` without 'sequence'.
    """

    keeps_space = True
    pools: tuple[str, ...] = ('last', 'mean', 'max', 'sequence')
    pool_option = 'temporal_pool'
    display_name = ''
    bidirectional = False
    go_backwards = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.display_name = vars(cls).get('display_name', cls.__name__.removesuffix('Neck'))

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Defer a neck without ``in_channels`` until its backbone exists."""
        in_channels = args[0] if args else kwargs.get('in_channels')
        if in_channels is None and (args or kwargs):
            return DeferredNeck(cls, args[1:], kwargs)
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple, dict]:
        return (), dict(in_channels=self.in_channels)  # copies are not deferred

    def __init__(
        self,
        in_channels: int,
        run_channels: int,
        temporal_pool: str = 'last',
        residual: bool = False,
        tbptt_len: int | None = None,
        carry_prob: float = 1.0,
        in_index: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int(in_channels=in_channels, run_channels=run_channels)
        check_int(optional=True, tbptt_len=tbptt_len)
        check_int(-MAX_INT, in_index=in_index)
        check_bool(residual=residual)
        check_number(0, 1, carry_prob=carry_prob)
        if temporal_pool not in self.pools:
            raise ValueError(
                f'expected {self.pool_option} in {self.pools}, got {temporal_pool!r}; fix: '
                f"{self.pool_option}='mean'"
            )
        if tbptt_len is not None and temporal_pool != 'sequence':
            raise ValueError(
                f'{type(self).__name__}(tbptt_len={tbptt_len}): expected a loss at every step, got '
                f'{self.pool_option}={temporal_pool!r}, whose loss reaches the last clip only; '
                f"fix: {self.pool_option}='sequence' and cls_head=dict(type='PerStepHead')"
            )
        self.in_channels, self.run_channels = in_channels, run_channels
        self.temporal_pool, self.residual = temporal_pool, residual
        self.tbptt_len, self.carry_prob = tbptt_len, carry_prob
        self.in_index = in_index
        self.out_channels = in_channels if residual else run_channels
        self.projection = nn.Linear(run_channels, in_channels) if residual else None
        self.needs_maps = self.keeps_space
        if residual:
            nn.init.zeros_(self.projection.weight)
            nn.init.zeros_(self.projection.bias)

    @classmethod
    def reads_maps(cls, cfg: Mapping[str, Any]) -> bool:
        """Whether a neck of config ``cfg`` needs feature maps rather than their means."""
        return cls.keeps_space

    @property
    def every_step(self) -> bool:
        """Whether :meth:`forward` returns all steps rather than one."""
        return self.temporal_pool == 'sequence'

    def initial(self, batch: int, size: Size) -> State:
        """State before the first step: zeros [N, ...] by name, for input maps of ``size``."""
        raise NotImplementedError

    def run(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run T steps.

        Args:
            x: [N, T, C, h, w], 0 where a sample is padded; h = w = 1 unless :meth:`reads_maps`.
            state: Of :meth:`initial` or an earlier call, maybe with other entries. None for zeros.
            lengths: Steps of each sample that count, [N]; None for all. Never with a state.

        Returns:
            The output of every step, [N, T, run_channels, h', w'] (its values in the padding are
            ignored), and the state after the last.
        """
        raise NotImplementedError

    def score(self, output: Tensor) -> Tensor | None:
        """Attention scores [N, T] of the outputs [N, T, C', h', w'], where 'attention' pools."""
        return None

    def last(self, output: Tensor, state: State, lengths: Tensor | None) -> Tensor:
        """Last output of each direction, [N, C', h', w'], of the outputs [N, T, C', h', w']."""
        final = pool('last', output, lengths)
        if not self.bidirectional:
            return final
        return torch.cat([final.chunk(2, dim=1)[0], output[:, 0].chunk(2, dim=1)[1]], dim=1)

    def output_size(self, size: Size) -> Size:
        """Height and width of the output for input maps of ``size``."""
        return size if self.keeps_space else (1, 1)

    def forward(self, x: Feature, data_samples: OptSampleList = None) -> tuple[Tensor, dict]:
        """Run the recurrence over a clip, from the zero state.

        Args:
            x: Feature maps [N, C, T, h, w], a tuple of stages, or a :class:`PaddedFeature`, whose
                padding changes nothing.
            data_samples: Unused; recognizers pass it in training.

        Returns:
            [N, C', 1, h', w'], or [N, C', T, h', w'] for 'sequence'; and an empty dict of
            auxiliary losses.

        Raises:
            TypeError: For a list, as Recognizer2D makes it, or a stage other than a tensor.
            ValueError: For a feature of another shape, and padded sequences with 'sequence'.
        """
        x, lengths = select_feature(x, self.in_index, self.in_channels, type(self).__name__)
        if lengths is not None and self.every_step:
            raise ValueError(
                f'{type(self).__name__}: expected samples of one length with '
                f'{self.pool_option}={self.temporal_pool!r}, got sequences of different lengths, '
                f"whose padding would reach the head; fix: {self.pool_option}='last' or 'mean'"
            )
        if self.training and self.tbptt_len and lengths is None:
            return run_truncated(self, x, self.tbptt_len, self.carry_prob), {}
        x = self._frames(x)
        feature, state = self.run(x, None, lengths)
        if not self.every_step:
            feature = self._pooled(feature, state, lengths)[:, None]
        if self.residual:
            source = self._residual_source(x)
            if not self.every_step:
                source = pool('mean', source, lengths)[:, None]
            feature = self._add(source, feature)
        return feature.transpose(1, 2), {}  # [N, C', T or 1, h', w']

    def init_state(
        self,
        batch: int,
        size: Size = (1, 1),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> State:
        """Make the state of samples or streams that have not begun.

        Args:
            batch: Number of samples or streams, N.
            size: Height and width of the backbone's feature.
            dtype: Of the floating-point entries; torch's default if None.
            device: The CPU if None.

        Returns:
            Zeros [N, ...] by name, those of :meth:`initial`, ``count``, and the running values of
            the pooling and of the residual.

        Raises:
            ValueError: If the recurrence needs later steps.
        """
        self.check_causal()
        size = tuple(size)
        with torch.device(device or 'cpu'):
            state = {
                name: value.to(dtype) if dtype and value.is_floating_point() else value
                for name, value in self.initial(batch, size).items()
            }
        shape = (self.run_channels, *self.output_size(size))
        state.update(self._pool().init_state(batch, shape, dtype, device))
        if self.residual and not self.every_step:
            shape = (self.in_channels, *(size if self.keeps_space else (1, 1)))
            state['residual'] = torch.zeros(batch, *shape, dtype=dtype, device=device)
        return state

    def forward_steps(self, x: Feature, state: State) -> tuple[Tensor, State]:
        """Go on from a state; a clip, its parts and its steps give the same.

        Args:
            x: The next T steps, [N, C, T, h, w] or a tuple of stages.
            state: Of :meth:`init_state` or an earlier call.

        Returns:
            [N, C', T, h', w'], at each step what :meth:`forward` would return for all steps up to
            it ('sequence': for this step); and the state after the last.

        Raises:
            TypeError: See :meth:`forward`.
            ValueError: For a feature of another shape, and a padded batch.
        """
        x, lengths = select_feature(x, self.in_index, self.in_channels, type(self).__name__)
        if lengths is not None:
            raise ValueError(
                f'{type(self).__name__}.forward_steps: expected steps that all samples have, got '
                'padded sequences; fix: select the samples that go on'
            )
        x = self._frames(x)
        output, after = self.run(x, state, None)
        feature, pooled = self._pool()(output, state, self.score(output))
        if self.residual:
            source = self._residual_source(x)
            if not self.every_step:
                before = dict(count=state['count'], pooled=state['residual'])
                source, running = RunningPool('mean')(source, before)
                after['residual'] = running['pooled']
            feature = self._add(source, feature)
        return feature.transpose(1, 2), dict(after, **pooled)

    def check_causal(self) -> None:
        """Raise ``ValueError`` if a step needs later ones."""
        for option in ('bidirectional', 'go_backwards'):
            if getattr(self, option):
                raise ValueError(
                    f'expected a neck that runs step by step, got {type(self).__name__}'
                    f'({option}=True), which needs the end of the video before its first step; '
                    f'fix: set {option}=False and train again'
                )

    def _frames(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] to [N, T, C, h, w], averaged over the frame if that is enough."""
        if not self.needs_maps:
            x = x.mean(dim=(3, 4), keepdim=True)
        return x.transpose(1, 2)

    def _pooled(self, output: Tensor, state: State, lengths: Tensor | None) -> Tensor:
        """[N, T, C', h', w'] to [N, C', h', w']."""
        if self.temporal_pool == 'last':
            return self.last(output, state, lengths)
        return pool(self.temporal_pool, output, lengths, self.score(output))

    def _residual_source(self, x: Tensor) -> Tensor:
        return x if self.keeps_space else x.mean(dim=(3, 4), keepdim=True)

    def _add(self, source: Tensor, feature: Tensor) -> Tensor:
        if source.shape[3:] != feature.shape[3:]:
            raise ValueError(
                f"{type(self).__name__}(residual=True): expected an output of the input map's "
                f'size {tuple(source.shape[3:])}, got {tuple(feature.shape[3:])}; fix: '
                "padding='same' and stride=1"
            )
        return source + self.projection(feature.movedim(2, -1)).movedim(-1, 2)

    def _pool(self) -> RunningPool:
        return RunningPool('last' if self.every_step else self.temporal_pool)
