"""Stop or skip when the loss or a gradient becomes NaN or infinite."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, is_distributed
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from cnnlstm_mm.console import SHOWN
from cnnlstm_mm.options import check_int
from mmaction.registry import HOOKS

from .non_finite_report import describe_samples, dump_batch, format_report, non_finite_parameters

ACTIONS = ('stop', 'skip')
MIN_LOSS_SCALE = 2.0**-20


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop, or skip a batch, when a loss or a gradient is NaN or infinite.

    The loss is tested before the backward pass and the gradients before the optimizer's step, so
    the weights stay as they were. Batch-norm statistics, which the forward pass has changed
    already, are restored. All processes of a distributed training agree. A ``GradScaler`` handles
    infinite gradients itself; the training stops if they never end.

    In validation and testing a score that is NaN or infinite stops the run.

    The batch is written to ``WORK_DIR/non_finite``: from each process its inputs, file names,
    labels and loss values, and the model's weights.

    Args:
        action: 'stop', or 'skip' to go on without the batch.
        max_in_a_row: As many skipped batches in a row stop the training, too.
        max_dumps: Batches to write.

    Raises:
        FloatingPointError: In the run, with the names, see above.
    """

    def __init__(self, action: str = 'stop', max_in_a_row: int = 10, max_dumps: int = 3) -> None:
        if action not in ACTIONS:
            raise ValueError(f'action: expected one of {ACTIONS}, got {action!r}')
        check_int(max_in_a_row=max_in_a_row, max_dumps=max_dumps)
        self.action = action
        self.max_in_a_row = max_in_a_row
        self.max_dumps = max_dumps
        self.skipped = 0
        self._in_a_row = 0
        self._losses: dict[str, Any] = {}
        self._batch: Any = None
        self._handles: list[Any] = []

    def before_train(self, runner: Runner) -> None:
        """Hook into the model, the optimizer wrapper and the optimizer."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            runner.logger.warning(
                f'FiniteLossHook supports OptimWrapper, got {type(wrapper).__name__}: a NaN loss '
                'passes unseen.'
            )
            return
        self._buffers = [buffer for buffer in runner.model.buffers() if buffer.numel()]
        self._before = [buffer.clone() for buffer in self._buffers]
        wrapper.update_params = functools.partial(self._update, runner, wrapper.update_params)
        check_gradients = functools.partial(self._check_gradients, runner)
        self._handles = [
            runner.model.register_forward_hook(self._store_losses),
            wrapper.optimizer.register_step_pre_hook(check_gradients),
        ]

    def after_train(self, runner: Runner) -> None:
        """Remove these hooks."""
        runner.optim_wrapper.__dict__.pop('update_params', None)
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Store the batch, and the statistics before it."""
        self._batch = data_batch
        if self._handles:
            _copy(self._before, self._buffers)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Stop where the ``GradScaler`` scales down without end."""
        scaler = _scaler(runner)
        if scaler is None or not self.every_n_train_iters(runner, 50):
            return
        if scaler.get_scale() < MIN_LOSS_SCALE:
            raise FloatingPointError(
                f'iteration {runner.iter + 1}: the gradients stay infinite or NaN down to a loss '
                f'scale of {scaler.get_scale():.1e}, so no weight changes; fix: train without '
                '--amp, or lower the learning rate.'
            )

    def after_train_epoch(self, runner: Runner) -> None:
        """Log how many batches were skipped."""
        if self.skipped:
            # As info: the logger shows a warning once, and this may not change.
            runner.logger.info(
                f'{self.skipped} batches were skipped so far: their loss or gradient was NaN or '
                'infinite.',
                extra=SHOWN,
            )

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Refuse scores that are NaN or infinite."""
        bad = [
            k
            for k, sample in enumerate(outputs or [])
            if 'pred_score' in sample and not bool(sample.pred_score.isfinite().all())
        ]
        if bad:
            samples = describe_samples(data_batch)
            report = format_report(
                f'the scores of {len(bad)} videos are NaN or infinite',
                [samples[k] for k in bad if k < len(samples)],
                non_finite_parameters(runner.model),
            )
            raise FloatingPointError(
                f'{report}\nNo result; fix: test another checkpoint, or train without --amp.'
            )

    after_test_iter = after_val_iter

    def _store_losses(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, dict):
            tensors = {name: value for name, value in output.items() if isinstance(value, Tensor)}
            self._losses = {name: value.detach() for name, value in tensors.items()}

    def _update(
        self, runner: Runner, original: Callable, loss: Tensor, *args: Any, **kwargs: Any
    ) -> None:
        if not any_rank(~loss.detach().isfinite().all()):
            self._in_a_row = 0
            original(loss, *args, **kwargs)
            return
        values = {name: value.float().mean().item() for name, value in self._losses.items()}
        self._stop_or_skip(runner, f'the loss is NaN or infinite: {values}')
        wrapper = runner.optim_wrapper
        wrapper._inner_count += 1
        if wrapper.should_update():
            # Gradients that were accumulated before are not yet reduced over
            # the processes: they go with the batch.
            wrapper.zero_grad()

    def _check_gradients(self, runner: Runner, optimizer: Any, args: Any, kwargs: Any) -> None:
        if _scaler(runner) is not None:
            return
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        grads = [p.grad for p in parameters if p.grad is not None]
        if not grads:
            return
        norms = torch._foreach_norm(grads, float('inf'))
        peaks = torch.stack([norm.to(grads[0].device, torch.float32) for norm in norms])
        if any_rank(~peaks.isfinite().all()):
            self._stop_or_skip(runner, 'the loss is finite, but its gradient is NaN or infinite')
            for p in parameters:
                p.grad = None  # the step then leaves it as it is

    def _stop_or_skip(self, runner: Runner, event: str) -> None:
        _copy(self._buffers, self._before)
        self.skipped += 1
        self._in_a_row += 1
        dump = None
        if self.skipped <= self.max_dumps:
            dump = dump_batch(runner, self._batch, self._losses)
        place = f'iteration {runner.iter + 1} of epoch {runner.epoch + 1}, process {get_rank()}'
        report = format_report(
            f'{place}: {event}',
            describe_samples(self._batch),
            non_finite_parameters(runner.model),
            dump,
        )
        if self.action == 'stop':
            raise FloatingPointError(
                f'{report}\nfix: lower the learning rate or optim_wrapper.clip_grad.max_norm, '
                'train without --amp, or skip such batches: --cfg-options '
                'default_hooks.finite_loss.action=skip'
            )
        if self._in_a_row >= self.max_in_a_row:
            raise FloatingPointError(
                f'{report}\nSkipped batches in a row: {self._in_a_row} (max_in_a_row); fix: lower '
                'the learning rate, or go back to an earlier checkpoint.'
            )
        runner.logger.warning(f'{report}\nSkipped; {self.skipped} in this training so far.')


def any_rank(flag: Tensor) -> bool:
    """Whether a flag is set in any process."""
    if not is_distributed():
        return bool(flag)
    count = flag.float().reshape(1)
    all_reduce(count)
    return bool(count.item())


def _copy(to: list[Tensor], source: list[Tensor]) -> None:
    if to:  # a model may have no buffers
        with torch.no_grad():
            torch._foreach_copy_(to, source)


def _scaler(runner: Runner) -> Any:
    """The ``GradScaler`` in use, if any."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, AmpOptimWrapper) and wrapper.loss_scaler.is_enabled():
        return wrapper.loss_scaler
    return None
