"""Keep the identity of a run in its checkpoints, and resume nothing else by mistake."""

import hashlib
import os.path as osp
from typing import Any

from mmengine.dist import broadcast_object_list, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from cnnlstm_mm.console import SHOWN
from cnnlstm_mm.run_identity import (
    FILE,
    KEY,
    checkpoint_facts,
    differences,
    is_allowed,
    make_identity,
)
from cnnlstm_mm.storage import write_json
from cnnlstm_mm.weights import state_hash, unwrap_model
from mmaction.registry import HOOKS

from .dump_predictions import DumpPredictions


@HOOKS.register_module()
class RunIdentityHook(Hook):
    """Write what a run is made of into its checkpoints, logs and predictions.

    A checkpoint is resumed by the config that wrote it: each difference is named, and stops the
    training unless it is harmless (paths, workers, logs, display, more epochs, another version of
    the code) or ``allow_changed`` in the config (``--allow-changed``) names it.

    Raises:
        ValueError: When a checkpoint of another config is resumed; with each difference.
    """

    priority = 'LOW'  # after the check that it fits the model, before the position is restored

    def __init__(self) -> None:
        self.identity: dict[str, Any] | None = None
        self.tested: dict[str, Any] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare a checkpoint to resume; note the one to test."""
        training = isinstance(runner._train_loop, BaseLoop)
        if not training:
            if is_main_process():
                self.tested = checkpoint_facts(str(runner._load_from), checkpoint)
            return
        if not runner._resume:
            return
        outcome: list[Any] = [None]
        if is_main_process():
            try:
                outcome = [self._resume(runner, checkpoint)]
            except ValueError as error:
                outcome = [error]
        broadcast_object_list(outcome)
        if isinstance(outcome[0], ValueError):
            raise ValueError(str(outcome[0]))
        self.identity = outcome[0]

    def before_train(self, runner: Runner) -> None:
        """Identify a run that begins; write the identity beside the log."""
        if not is_main_process():
            return
        if self.identity is None:
            self.identity = self._begin(runner)
        write_json(osp.join(runner.log_dir, FILE), self.identity, indent=1)

    def before_test(self, runner: Runner) -> None:
        """Write what is tested beside the log, and into the predictions."""
        if self.tested is None:
            return
        write_json(osp.join(runner.log_dir, FILE), self.tested, indent=1)
        for metric in runner.test_loop.evaluator.metrics:
            if isinstance(metric, DumpPredictions):
                metric.facts = self.tested

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the identity."""
        if self.identity is not None:
            checkpoint['meta'][KEY] = self.identity

    def _begin(self, runner: Runner) -> dict[str, Any]:
        identity = make_identity(runner.cfg, get_world_size())
        run = hashlib.sha256(f'{identity["id"]} {runner.seed}'.encode()).hexdigest()[:16]
        model = unwrap_model(runner.model)
        # Not state_dict(), which a model in shards makes by all processes together.
        start = state_hash({**dict(model.named_parameters()), **dict(model.named_buffers())})
        return dict(identity, run=run, session=1, start_sha256=start)

    def _resume(self, runner: Runner, checkpoint: dict[str, Any]) -> dict[str, Any]:
        before = checkpoint['meta'].get(KEY)
        if before is None:
            runner.logger.info(
                'This checkpoint, of an earlier version or another tool, does not say which config '
                'wrote it: nothing is compared.',
                extra=SHOWN,
            )
            return self._begin(runner)
        identity = make_identity(runner.cfg, get_world_size())
        serious, harmless = differences(before, identity)
        allowed = list(runner.cfg.get('allow_changed') or [])
        refused = {key: words for key, words in serious.items() if not is_allowed(key, allowed)}
        if refused:
            lines = ''.join(f'\n  {words}' for words in refused.values())
            raise ValueError(
                f'{runner._load_from} was written by another config:{lines}\nfix: resume with the '
                f'config that it began with, or allow it: --allow-changed {" ".join(refused)}; to '
                'begin a training with its weights, --cfg-options load_from=PATH without --resume'
            )
        said = [*serious.values(), *harmless.values()]
        if said:
            lines = ''.join(f'\n  {words}' for words in said)
            runner.logger.info(f'Resuming with other settings than before:{lines}', extra=SHOWN)
        kept = {key: before.get(key) for key in ('run', 'start_sha256')}
        return dict(identity, **kept, session=before.get('session', 0) + 1)
