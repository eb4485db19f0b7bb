"""A training whose loss or gradient is no number any more."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, is_distributed
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from cnnlstm_mm.options import check_whole
from cnnlstm_mm.weights import unwrap_model
from mmaction.registry import HOOKS

from .non_finite_report import dump, samples_of, told

ACTIONS = ('stop', 'skip')
LEAST_SCALE = 2.0**-20


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop, or skip a batch, when a loss or a gradient is NaN or infinite.

    The loss is looked at before the backward pass and the gradients before
    the optimizer's step, so the weights stay as they were. Batch-norm
    statistics, which the forward pass has changed already, are put back. All
    processes of a distributed training agree. Under a ``GradScaler`` an
    infinite gradient is normal and left to it; that it never ends is not.

    In validation and testing a score that is no number stops the run.

    The batch is written to ``WORK_DIR/non_finite``: from each process its
    inputs, file names, labels and loss values, and the model's weights.

    Args:
        action (str): 'stop', or 'skip' to go on without the batch. Defaults
            to 'stop'.
        max_in_a_row (int): So many skipped batches one after the other stop
            the training, too. Defaults to 10.
        max_dumps (int): Write the first so many batches only. Defaults to 3.

    Raises:
        FloatingPointError: In the run, with the names, see above.
    """

    def __init__(self, action: str = 'stop', max_in_a_row: int = 10, max_dumps: int = 3) -> None:
        if action not in ACTIONS:
            raise ValueError(f'action must be one of {ACTIONS}, got {action!r}')
        check_whole(max_in_a_row=max_in_a_row, max_dumps=max_dumps)
        self.action = action
        self.max_in_a_row = max_in_a_row
        self.max_dumps = max_dumps
        self.skipped = 0
        self._in_a_row = 0
        self._losses: dict[str, Any] = {}
        self._batch: Any = None
        self._handles: list[Any] = []

    def before_train(self, runner: Runner) -> None:
        """Watch the loss and the gradients."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            runner.logger.warning(
                f'FiniteLossHook does not watch a {type(wrapper).__name__}: '
                'a loss of NaN goes on unseen.'
            )
            return
        self._buffers = [buffer for buffer in runner.model.buffers() if buffer.numel()]
        self._before = [buffer.clone() for buffer in self._buffers]
        wrapper.update_params = functools.partial(self._update, runner, wrapper.update_params)
        self._handles = [
            runner.model.register_forward_hook(self._keep_losses),
            wrapper.optimizer.register_step_pre_hook(
                functools.partial(self._check_gradients, runner)
            ),
        ]

    def after_train(self, runner: Runner) -> None:
        """Leave all as it was."""
        runner.optim_wrapper.__dict__.pop('update_params', None)
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the batch, and the statistics before it."""
        self._batch = data_batch
        if self._handles:
            _copy(self._before, self._buffers)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Stop where the ``GradScaler`` finds no end."""
        scaler = _scaler(runner)
        if (
            scaler is not None
            and self.every_n_train_iters(runner, 50)
            and (scaler.get_scale() < LEAST_SCALE)
        ):
            raise FloatingPointError(
                f'iteration {runner.iter + 1}: the gradients stay infinite '
                f'or NaN however small the loss scale '
                f'({scaler.get_scale():.1e}), so nothing is learnt any more. '
                'Train without --amp, or lower the learning rate.'
            )

    def after_train_epoch(self, runner: Runner) -> None:
        """Say how many batches were skipped."""
        if self.skipped:
            # As info: a warning is shown once, and this may not change.
            runner.logger.info(
                f'{self.skipped} batches were skipped so far: their loss or '
                'gradient was NaN or infinite.'
            )

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Refuse scores that are no numbers."""
        self._check_scores(runner, data_batch, outputs)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Refuse scores that are no numbers."""
        self._check_scores(runner, data_batch, outputs)

    def _check_scores(self, runner: Runner, data_batch: Any, outputs: Sequence[Any] | None) -> None:
        bad = [
            k
            for k, sample in enumerate(outputs or [])
            if 'pred_score' in sample and not bool(sample.pred_score.isfinite().all())
        ]
        if bad:
            samples = samples_of(data_batch)
            raise FloatingPointError(
                told(
                    f'the scores of {len(bad)} videos are NaN or infinite',
                    [samples[k] for k in bad if k < len(samples)],
                    faulty_weights(runner),
                )
                + '\nThere is no result. Is the checkpoint sound, and its '
                'training without --amp the same?'
            )

    def _keep_losses(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, dict):
            self._losses = {
                name: value.detach() for name, value in output.items() if isinstance(value, Tensor)
            }

    def _update(
        self, runner: Runner, original: Callable, loss: Tensor, *args: Any, **kwargs: Any
    ) -> None:
        if not anywhere(~loss.detach().isfinite().all()):
            self._in_a_row = 0
            original(loss, *args, **kwargs)
            return
        values = {name: value.float().mean().item() for name, value in self._losses.items()}
        self._stop_or_skip(runner, f'the loss is no number any more: {values}')
        wrapper = runner.optim_wrapper
        wrapper._inner_count += 1
        if wrapper.should_update():
            # Gradients that were accumulated before are not shared out
            # between the processes: they go with the batch.
            wrapper.zero_grad()

    def _check_gradients(self, runner: Runner, optimizer: Any, args: Any, kwargs: Any) -> None:
        if _scaler(runner) is not None:
            return
        grads = [
            p.grad
            for group in optimizer.param_groups
            for p in group['params']
            if p.grad is not None
        ]
        if not grads:
            return
        peaks = torch.stack(
            [
                peak.to(grads[0].device, torch.float32)
                for peak in torch._foreach_norm(grads, float('inf'))
            ]
        )
        if not anywhere(~peaks.isfinite().all()):
            return
        self._stop_or_skip(runner, 'the loss is finite, but its gradient is NaN or infinite')
        for group in optimizer.param_groups:
            for p in group['params']:
                p.grad = None  # the step then leaves it as it is

    def _stop_or_skip(self, runner: Runner, what: str) -> None:
        _copy(self._buffers, self._before)
        self.skipped += 1
        self._in_a_row += 1
        where = None
        if self.skipped <= self.max_dumps:
            where = dump(runner, self._batch, self._losses)
        message = told(
            f'iteration {runner.iter + 1} of epoch {runner.epoch + 1}, '
            f'process {get_rank()}: {what}',
            samples_of(self._batch),
            faulty_weights(runner),
            where,
        )
        if self.action == 'stop':
            raise FloatingPointError(
                f'{message}\nLower the learning rate or '
                'optim_wrapper.clip_grad.max_norm, try without --amp, or go '
                'on without such batches: --cfg-options '
                'default_hooks.finite_loss.action=skip'
            )
        if self._in_a_row >= self.max_in_a_row:
            raise FloatingPointError(
                f'{message}\nThat is the {self._in_a_row}th batch in a row '
                '(max_in_a_row): skipping does not help. Lower the learning '
                'rate, or go back to an earlier checkpoint.'
            )
        runner.logger.warning(
            f'{message}\nThe batch is skipped, the {self.skipped}th of this training.'
        )


def anywhere(flag: Tensor) -> bool:
    """Whether a flag is set in any process."""
    if not is_distributed():
        return bool(flag)
    count = flag.float().reshape(1)
    all_reduce(count)
    return bool(count.item())


def _copy(to: list[Tensor], source: list[Tensor]) -> None:
    if to:  # a model may have none
        with torch.no_grad():
            torch._foreach_copy_(to, source)


def faulty_weights(runner: Runner) -> list[str]:
    """The names of parameters that hold NaN or infinity."""
    model = unwrap_model(runner.model)
    return [
        name
        for name, parameter in model.named_parameters()
        if not bool(parameter.detach().isfinite().all())
    ]


def _scaler(runner: Runner) -> Any:
    """The ``GradScaler`` in use, if any."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, AmpOptimWrapper) and wrapper.loss_scaler.is_enabled():
        return wrapper.loss_scaler
    return None
