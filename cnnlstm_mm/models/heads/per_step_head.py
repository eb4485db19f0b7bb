"""A head that scores every step of a sequence."""

from typing import Any

import torch
from torch import Tensor, nn

from cnnlstm_mm.models.stepping import State
from cnnlstm_mm.models.temporal_pool import RunningPool
from cnnlstm_mm.options import check_bool, check_fraction, check_int, check_number
from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmaction.utils import ConfigType, SampleList

LOSS_WEIGHTINGS = ('uniform', 'linear', 'last')
AVERAGE_STEPS = (None, 'score', 'prob')


@MODELS.register_module()
class PerStepHead(BaseHead):
    """Score each step: mean over the frame, dropout, one dense layer.

    The loss is taken at the steps, so that a stream has an answer from its first frame on. It
    needs all steps: a neck with ``return_mode='sequence'`` or ``temporal_pool='sequence'``.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the input feature.
        loss_weighting: Weight of a step's loss: 'uniform', 'linear', in proportion to its number
            1, 2, ..., or 'last', that of the last step alone. The weights sum to 1.
        clip_len: Steps after which the weights begin again, the neck's ``tbptt_len``; None: never.
        step_labels: Samples may have a label for each step, as AddPauses gives them.
        average_steps: Prediction from the steps: None, the last step; 'score', the mean over the
            steps of the scores before the softmax; 'prob', of those after it.
        dropout_ratio: Dropout before the dense layer, one mask per sample for all steps.
        init_std: Standard deviation of the initial weights.
        loss_cls: Config of the loss.
        loss_steps: Number of last steps of a clip that have a loss, in proportion to their weights;
            None: all.
        **kwargs: Arguments of MMAction2's BaseHead, such as ``average_clips``,
            ``label_smooth_eps`` and ``topk``.

    Raises:
        ValueError: For an option out of range.

    Source: the linear weights are those of Ng et al., "Beyond Short Snippets", CVPR 2015,
    section 3.3; a loss on the last steps alone is MiniROAD's, An et al., ICCV 2023.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss_weighting: str = 'linear',
        clip_len: int | None = None,
        step_labels: bool = False,
        average_steps: str | None = None,
        dropout_ratio: float = 0.5,
        init_std: float = 0.01,
        loss_cls: ConfigType = dict(type='CrossEntropyLoss'),
        loss_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_int(num_classes=num_classes, in_channels=in_channels)
        check_int(optional=True, clip_len=clip_len, loss_steps=loss_steps)
        check_fraction(dropout_ratio=dropout_ratio)
        check_bool(step_labels=step_labels)
        check_number(0, init_std=init_std)
        super().__init__(num_classes, in_channels, loss_cls, **kwargs)
        for name, value, known in (
            ('loss_weighting', loss_weighting, LOSS_WEIGHTINGS),
            ('average_steps', average_steps, AVERAGE_STEPS),
        ):
            if value not in known:
                raise ValueError(f'expected {name} in {known}, got {value!r}; fix: choose one')
        self.loss_weighting = loss_weighting
        self.loss_steps = loss_steps
        self.clip_len = clip_len
        self.step_labels = step_labels
        self.average_steps = average_steps
        self.init_std = init_std
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(in_channels, num_classes)

    def init_weights(self) -> None:
        """Initialize as I3DHead, then as ``init_cfg`` says."""
        nn.init.normal_(self.fc_cls.weight, std=self.init_std)
        nn.init.zeros_(self.fc_cls.bias)
        super().init_weights()

    def step_scores(self, x: Tensor) -> Tensor:
        """Scores before the softmax, [N, T, num_classes], of all steps [N, C, T, h, w]."""
        if x.dim() != 5 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'PerStepHead: expected features [N, {self.in_channels}, T, h, w], got '
                f"{tuple(x.shape)}; fix: set in_channels to the neck's out_channels"
            )
        x = x.mean(dim=(3, 4)).transpose(1, 2)  # [N, T, C]
        mask = self.dropout(torch.ones_like(x[:, :1]))  # [N, 1, C]
        return self.fc_cls(x * mask)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Scores before the softmax, [N, num_classes], of a sequence [N, C, T, h, w].

        Args:
            x: Features of all steps, [N, C, T, h, w].
            **kwargs: Unused; recognizers pass ``num_segs``.
        """
        return self._combined(self.step_scores(x))

    def init_state(
        self, batch: int, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> State:
        """State before the first step of ``batch`` streams.

        Zeros: ``count`` [N], and ``pooled`` [N, num_classes] for a mean over the steps.
        """
        return self._pool().init_state(batch, (self.num_classes,), dtype, device)

    def forward_steps(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Go on from a state.

        Args:
            x: Features of the next T steps, [N, C, T, h, w].
            state: The state before them.

        Returns:
            [N, T, num_classes], at each step what :meth:`forward` would return for all steps up
            to it; and the state after the last one.
        """
        scores = self.step_scores(x)
        if self.average_steps != 'prob':
            return self._pool()(scores, state)
        mean, state = self._pool()(scores.softmax(dim=2), state)
        return mean.log(), state

    def loss(self, feats: Tensor, data_samples: SampleList, **kwargs: Any) -> dict[str, Tensor]:
        """Weighted losses over time; the accuracies are those of the prediction.

        Args:
            feats: Features of all steps, [N, C, T, h, w].
            data_samples: N samples with their labels, [T] each with ``step_labels``.
            **kwargs: Unused; recognizers pass ``num_segs``.

        Raises:
            ValueError: With ``step_labels``, for another number of labels.
        """
        scores = self.step_scores(feats)
        samples = self._samples_of_steps(data_samples, scores.shape[1])
        losses = self.loss_by_feat(self._combined(scores), samples[-1])
        names = [name for name in losses if 'loss' in name]
        losses.update(dict.fromkeys(names, 0.0))
        for t, weight in enumerate(self.loss_weights(scores.shape[1])):
            if weight:
                step = self.loss_by_feat(scores[:, t], samples[t])
                for name in names:
                    losses[name] = losses[name] + weight * step[name]
        return losses

    def _samples_of_steps(self, samples: SampleList, steps: int) -> list[SampleList]:
        if not self.step_labels:
            return [samples] * steps
        found = sorted({sample.gt_label.numel() for sample in samples})
        if not {1, steps}.issuperset(found):
            raise ValueError(
                f'PerStepHead: expected one label or one for each of {steps} steps, got {found} '
                'labels; fix: let AddPauses label what the pipeline gives'
            )
        labels = [sample.gt_label.expand(steps) for sample in samples]
        return [
            [ActionDataSample().set_gt_label(label[t : t + 1]) for label in labels]
            for t in range(steps)
        ]

    def loss_weights(self, steps: int) -> list[float]:
        """Weights of the losses of ``steps`` steps, which sum to 1."""
        length = min(self.clip_len or steps, steps)
        places = [t % length + 1 for t in range(steps)]
        if self.loss_weighting == 'uniform':
            places = [1] * steps
        elif self.loss_weighting == 'last':
            places = [int(place == length) for place in places]
        if self.loss_steps is not None:
            first = length - self.loss_steps
            places = [w * (t % length >= first) for t, w in enumerate(places)]
        return [place / sum(places) for place in places]

    def _combined(self, scores: Tensor) -> Tensor:
        # [N, T, num_classes] -> [N, num_classes]
        if self.average_steps is None:
            return scores[:, -1]
        if self.average_steps == 'score':
            return scores.mean(dim=1)
        return scores.softmax(dim=2).mean(dim=1).log()

    def _pool(self) -> RunningPool:
        return RunningPool('mean' if self.average_steps else 'last')
