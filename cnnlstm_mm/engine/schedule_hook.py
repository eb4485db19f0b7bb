"""Schedules of the learning rate that end before the training does."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import _ParamScheduler
from mmengine.runner import Runner

from cnnlstm_mm.options import check_bool
from mmaction.registry import HOOKS

CURE = (
    'fix: pass --extend-schedule, which stretches it to the whole training, or set the end and '
    'T_max of param_scheduler'
)


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Warn of a schedule that ends too early; stretch that of a resumed training.

    A checkpoint holds the schedule that it was trained with, whatever the config says: after a
    resume with more epochs the rate would stay at its last value.

    Args:
        extend: Resume with the config's schedule instead, at the place that the checkpoint has
            reached. :func:`extend_schedule` stretches the config's.
    """

    def __init__(self, extend: bool = False) -> None:
        check_bool(extend=extend)
        self.extend = extend

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the config's schedule into a checkpoint that is resumed."""
        if not (self.extend and runner._resume and checkpoint.get('param_schedulers')):
            return
        if not isinstance(checkpoint['param_schedulers'], list):
            raise ValueError('--extend-schedule: expected one optimizer, got several')
        groups = checkpoint['optimizer']['param_groups']
        schedulers = self._fast_forward(runner, groups, checkpoint['meta'])
        checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]

    def before_train(self, runner: Runner) -> None:
        """Warn, once the checkpoint is loaded."""
        schedulers = runner.param_schedulers or []
        if isinstance(schedulers, dict):
            schedulers = [one for part in schedulers.values() for one in part]
        decays = [one for one in schedulers if not _warms_up(vars(one))]
        for by_epoch, unit, total in (
            (True, 'epochs', runner.max_epochs),
            (False, 'iterations', runner.max_iters),
        ):
            ends = [_end(vars(one)) for one in decays if one.by_epoch == by_epoch]
            if ends and max(ends) < total:
                runner.logger.warning(
                    f'The schedule ends after {max(ends)} of {total} {unit}: the rate then stays '
                    f'as it is; {CURE}.'
                )

    @staticmethod
    def _fast_forward(
        runner: Runner, groups: list[dict], meta: dict[str, int]
    ) -> Sequence[_ParamScheduler]:
        """Run the config's schedulers to a checkpoint's place; sets the values of ``groups``."""
        optimizer: Any = torch.optim.SGD(
            [dict(params=[torch.nn.Parameter(torch.zeros(1))]) for _ in groups], lr=0.0
        )
        for group, saved in zip(optimizer.param_groups, groups):
            group.update((key, value) for key, value in saved.items() if key != 'params')
            for key, value in saved.items():
                if key.startswith('initial_'):
                    group[key.removeprefix('initial_')] = value
        schedulers = runner._build_param_scheduler(runner.cfg.param_scheduler, optimizer)
        optimizer._global_step = 0  # else each scheduler warns that the optimizer never stepped
        epochs, length = 0, len(runner.train_dataloader)
        for done in range(1, meta['iter'] + 1):
            _step(schedulers, by_epoch=False)
            if done % length == 0 and epochs < meta['epoch']:
                epochs += 1
                _step(schedulers, by_epoch=True)
        for _ in range(epochs, meta['epoch']):
            _step(schedulers, by_epoch=True)
        for group, saved in zip(optimizer.param_groups, groups):
            saved.update((one.param_name, group[one.param_name]) for one in schedulers)
        return schedulers


def extend_schedule(cfg: Config) -> None:
    """Stretch the schedulers of a config that end last to the end of its training.

    Warm-ups keep their length, and milestones their places.

    Raises:
        ValueError: If the config has no schedule, or one for each of several optimizers.
    """
    loop, schedulers = cfg.get('train_cfg') or {}, cfg.get('param_scheduler')
    if isinstance(schedulers, dict) and 'type' in schedulers:
        schedulers = [schedulers]
    if not schedulers or isinstance(schedulers, dict):
        raise ValueError(
            '--extend-schedule: expected a list of schedulers in param_scheduler, got '
            f'{"none" if not schedulers else "one of each optimizer"}'
        )
    for by_epoch, key in ((True, 'max_epochs'), (False, 'max_iters')):
        total = loop.get(key)
        chosen = [
            one
            for one in schedulers
            if one.get('by_epoch', True) == by_epoch
            and not _warms_up(one)
            and ('end' in one or 'T_max' in one)
        ]
        last = max(map(_end, chosen), default=0)
        for one in chosen if total and last < total else []:
            if _end(one) == last:
                if 'T_max' in one:
                    one['T_max'] = total - one.get('begin', 0)
                if 'end' in one:
                    one['end'] = total
    cfg.param_scheduler = schedulers


def _step(schedulers: Sequence[_ParamScheduler], by_epoch: bool) -> None:
    for scheduler in schedulers:
        if scheduler.by_epoch == by_epoch:
            scheduler.step()


def _end(scheduler: dict[str, Any]) -> int:
    """Where a scheduler, as a config or as attributes, ends or begins to repeat."""
    period = [scheduler['T_max'] + scheduler.get('begin', 0)] if scheduler.get('T_max') else []
    return min([*period, scheduler['end']] if 'end' in scheduler else period)


def _warms_up(scheduler: dict[str, Any]) -> bool:
    """Whether a scheduler, as a config or as attributes, leads up to the full rate."""
    start = scheduler.get('start_factor', 1 / 3 if 'Linear' in str(scheduler.get('type')) else None)
    return 'factor' in scheduler or (start is not None and start < scheduler.get('end_factor', 1))
