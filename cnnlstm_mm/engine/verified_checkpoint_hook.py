"""Checkpoints that survive a kill, a full disk and a flipped bit."""

import os
import os.path as osp
from collections import deque
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, Runner

from cnnlstm_mm.console import SHOWN
from cnnlstm_mm.storage import remove_parts
from mmaction.registry import HOOKS

from .checkpoint_files import LAST, find_damage, has_hash, newest_valid, write_verified
from .exact_train_loop import ExactEpochBasedTrainLoop
from .rank_states import gather_rank_states, load_rank_state

KEY = 'exact_resume'


@HOOKS.register_module()
class VerifiedCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook with verified files.

    - A checkpoint is written under another name, flushed to the disk, read back, and then given
      its name; it ends with its own SHA-256. So is ``last_checkpoint``.
    - An older one, or the best so far, is removed after the new one is complete.
    - Resuming without a file name takes the newest sound one, and logs the damaged ones.
    - A process that torchrun started again resumes by itself.
    - With :class:`ExactEpochBasedTrainLoop`, checkpoints hold what it needs to go on in the middle
      of an epoch (``by_epoch=False``), in each process of a distributed training.

    It takes the arguments of ``CheckpointHook``. Files on other than local storage
    (``backend_args``, ``out_dir='s3://...'``) are written by their own backend, and those of
    another runner (``FlexibleRunner``) by its strategy, without these promises.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (
            self.backend_args is None
            and self.file_client_args is None
            and '://' not in str(self.out_dir or '')
        ):
            self.backend_args = dict(backend='verified')
        self._rank_states: list | None = None

    @property
    def _verified(self) -> bool:
        return (self.backend_args or {}).get('backend') == 'verified'

    def before_run(self, runner: Runner) -> None:
        """Choose what to resume from, the same in all processes."""
        if not isinstance(runner, Runner) and self._verified:
            self.backend_args = None
        if not self._verified:
            return
        # On several machines only some of the processes may know.
        restarted = max(all_gather_object(restart_count())) > 0
        choice: list[Any] = [None]
        if is_main_process():
            try:
                choice = [self._choose(runner, restarted)]
            except RuntimeError as error:
                choice = [error]
        broadcast_object_list(choice)
        if isinstance(choice[0], RuntimeError):
            raise choice[0]
        runner._resume, runner._load_from = choice[0]

    def _choose(self, runner: Runner, restarted: bool) -> tuple[bool, str | None]:
        resume, path = runner._resume, runner._load_from
        restarted = restarted and _is_training(runner)
        if restarted or (resume and path is None):
            folder = runner.work_dir
            if self.out_dir is not None:
                folder = osp.join(self.out_dir, osp.basename(runner.work_dir.rstrip(osp.sep)))
            newest = newest_valid(folder, self.filename_tmpl, runner.work_dir)
            if newest is not None:
                return True, newest
            runner.logger.info(
                f'No checkpoint in {folder} yet: the training starts from scratch.', extra=SHOWN
            )
            if not restarted:
                return False, None
        if path is not None and osp.isfile(path) and has_hash(path):
            damage = find_damage(path)
            if damage is not None:
                raise RuntimeError(
                    f'{path} is damaged: {damage}; fix: take another copy of it, or, to resume, '
                    '--resume without a path, which takes the newest sound checkpoint.'
                )
        return resume, path

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder; remove partial files."""
        super().before_train(runner)
        if self._verified and is_main_process() and osp.isdir(self.out_dir):
            remove_parts(self.out_dir)
        if self._rank_states is not None:
            load_rank_state(runner.model, self._rank_states)
            self._rank_states = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the position of the training."""
        loop = runner.train_loop
        if isinstance(loop, ExactEpochBasedTrainLoop):
            checkpoint[KEY] = loop.state_dict(checkpoint['meta']['epoch'])
            checkpoint[KEY]['rank_states'] = self._rank_states

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the position of the training."""
        if (
            not runner._resume
            or not _is_training(runner)
            or not isinstance(runner.train_loop, ExactEpochBasedTrainLoop)
        ):
            return
        state = checkpoint.get(KEY)
        if state is None:
            runner.logger.info(
                'This checkpoint, of an earlier version or another tool, lacks its position in the '
                'epoch. The training goes on, but not bit by bit.',
                extra=SHOWN,
            )
            return
        runner.train_loop.load_state_dict(state)
        self._rank_states = state['rank_states']

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if not self._verified:
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        old = None
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            ids = [*self.keep_ckpt_ids, step]
            # With the one to remove: a run killed before that removes it when resumed.
            runner.message_hub.update_info('keep_ckpt_ids', ids)
            if len(ids) > self.max_keep_ckpts:
                old = ids[0]
            self.keep_ckpt_ids = deque(ids, self.max_keep_ckpts)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = osp.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._save(
            runner,
            name,
            meta=meta,
            by_epoch=self.by_epoch,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
        )
        if not is_main_process():
            return
        write_verified(osp.join(runner.work_dir, LAST), self.last_ckpt.encode())
        if old is not None:
            path = osp.join(self.out_dir, self.filename_tmpl.format(old))
            if osp.isfile(path):
                os.remove(path)

    def _save(self, runner: Runner, name: str, **kwargs: Any) -> None:
        if isinstance(runner.train_loop, ExactEpochBasedTrainLoop):
            self._rank_states = gather_rank_states(runner.model)
        runner.save_checkpoint(
            self.out_dir, name, backend_args=self.backend_args, **kwargs, **self.args
        )
        self._rank_states = None

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        backend = self.file_backend
        self.file_backend = deferred = _DeferredRemoval(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        current = [
            self.last_ckpt,
            getattr(self, 'best_ckpt_path', None),
            *getattr(self, 'best_ckpt_path_dict', {}).values(),
        ]
        for path in deferred.removed:
            if path not in current:
                backend.remove(path)


class _DeferredRemoval:
    """A file backend that collects the files to remove."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.removed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_backend'], name)

    def remove(self, path: str) -> None:
        self.removed.append(path)


def _is_training(runner: Runner) -> bool:
    # In tests and validations it is still a config.
    return isinstance(runner._train_loop, BaseLoop)


def restart_count() -> int:
    """How often torchrun has started this process again."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0))
