"""Log, count and limit the broken videos of a run."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from cnnlstm_mm.console import SHOWN
from cnnlstm_mm.options import check_bool, check_int, check_number
from mmaction.registry import HOOKS

Broken = dict[str, str]


@HOOKS.register_module()
class BrokenVideoHook(Hook):
    """Log each broken video once, and stop when there are too many.

    It collects what :class:`ReplacingMixin` left in the samples, from all workers and processes.
    In training, broken videos were replaced; the run stops when the broken videos so far are more
    than ``max_broken_share`` of the videos in the list. In validation and testing nothing is
    replaced: the run ends with the names, before any metric is reported, unless
    ``count_as_wrong``.

    Args:
        max_broken_share: Of the videos in the training list, from 0 to 1.
        count_as_wrong: In validation and testing, give a broken video the score 0 for its own
            class and 1 for all others.
        interval: Iterations after which the processes of a distributed training exchange their
            broken videos; they also do so after each epoch.

    Raises:
        RuntimeError: In the run, with the names, see above.
    """

    def __init__(
        self, max_broken_share: float = 0.05, count_as_wrong: bool = False, interval: int = 50
    ) -> None:
        check_number(0, 1, max_broken_share=max_broken_share)
        check_bool(count_as_wrong=count_as_wrong)
        check_int(interval=interval)
        self.max_broken_share = max_broken_share
        self.count_as_wrong = count_as_wrong
        self.interval = interval
        self._known: Broken = {}
        self._new: Broken = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Collect the broken videos of a batch."""
        self._new.update(find_broken(data_batch))
        alone = get_world_size() == 1
        if self._new if alone else (runner.iter + 1) % self.interval == 0:
            self._synchronize(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the number so far."""
        self._synchronize(runner)
        if self._known:
            size = num_videos(runner.train_dataloader.dataset)
            # As info: the logger shows a warning once, and this may not change.
            runner.logger.info(
                f'{len(self._known)} of {size} training videos ({len(self._known) / size:.1%}) are '
                'broken and were replaced by others.',
                extra=SHOWN,
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the broken videos so far."""
        checkpoint['broken_videos'] = {**self._known, **self._new}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Continue the count of a resumed training."""
        if runner._resume:
            self._known = dict(checkpoint.get('broken_videos', {}))

    def before_val_epoch(self, runner: Runner) -> None:
        """Wrap the evaluator."""
        self._wrap_evaluator(runner, runner.val_loop)

    def before_test_epoch(self, runner: Runner) -> None:
        """Wrap the evaluator."""
        self._wrap_evaluator(runner, runner.test_loop)

    def _synchronize(self, runner: Runner) -> None:
        for name, reason in gather_broken(self._new).items():
            if name not in self._known:
                self._known[name] = reason
                runner.logger.warning(f'Broken video, replaced by another: {name} ({reason})')
        self._new = {}
        size = num_videos(runner.train_dataloader.dataset)
        if len(self._known) > self.max_broken_share * size:
            raise RuntimeError(
                f'{len(self._known)} of {size} training videos are broken, more than '
                f'max_broken_share={self.max_broken_share:.0%}:{format_broken(self._known)}\n'
                'fix: repair or remove them (cnnlstm-mm prepare reports all broken videos and '
                'leaves them out of its lists), or allow more: --cfg-options '
                'default_hooks.broken_videos.max_broken_share=0.2'
            )

    def _wrap_evaluator(self, runner: Runner, loop: Any) -> None:
        if not isinstance(loop.evaluator, _BrokenVideoEvaluator):
            loop.evaluator = _BrokenVideoEvaluator(loop.evaluator)
        loop.evaluator.start(runner, self.count_as_wrong)


class _BrokenVideoEvaluator:
    """An evaluator that replaces the scores of broken videos."""

    def __init__(self, evaluator: Any) -> None:
        self._evaluator = evaluator

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_evaluator'], name)

    def start(self, runner: Runner, count_as_wrong: bool) -> None:
        self._runner = runner
        self._count_as_wrong = count_as_wrong
        self._broken: Broken = {}

    def process(self, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        for given, done in zip(data_batch['data_samples'], data_samples):
            broken = given.metainfo.get('broken')
            if broken is not None:
                self._broken.update(broken)
                set_wrong(done)
        self._evaluator.process(data_samples, data_batch)

    def evaluate(self, size: int) -> dict:
        broken = gather_broken(self._broken)
        if broken and not self._count_as_wrong:
            raise RuntimeError(
                f'expected {size} readable videos, got {len(broken)} broken ones, so no result:'
                f'{format_broken(broken)}\nfix: repair them or take them off the list, or count '
                'them as wrong: --cfg-options default_hooks.broken_videos.count_as_wrong=True'
            )
        if broken:
            self._runner.logger.warning(
                f'{len(broken)} of {size} videos could not be read and count as wrong:'
                f'{format_broken(broken)}'
            )
        return self._evaluator.evaluate(size)


def set_wrong(sample: Any) -> None:
    """Give a sample a prediction that counts as wrong; to a clip with captions an empty one."""
    if 'pred_captions' in sample:
        sample.pred_captions = [dict(caption='', log_prob=0.0, score=0.0)]
        return
    sample.set_pred_score(wrong_score(sample))
    sample.set_pred_label(sample.pred_score.argmax())


def wrong_score(sample: Any) -> torch.Tensor:
    """Scores [classes] that make a sample count as wrong: 0 for its classes, 1 for all others."""
    label = sample.gt_label
    score = torch.ones_like(sample.pred_score)
    if label.numel() == score.numel() > 1:  # several labels, as 0 and 1
        return score - label
    score[label] = 0
    return score


def find_broken(data_batch: Any) -> list[tuple[str, str]]:
    """(file, reason) pairs of the samples of a batch."""
    return [
        pair for sample in data_batch['data_samples'] for pair in sample.metainfo.get('broken', ())
    ]


def gather_broken(broken: Broken) -> Broken:
    """Union over all processes, in the same order in all."""
    union: Broken = {}
    for part in all_gather_object(broken):
        union.update(part)
    return dict(sorted(union.items()))


def format_broken(broken: Broken) -> str:
    """Format one indented line a video."""
    return ''.join(f'\n  {name} ({reason})' for name, reason in sorted(broken.items()))


def num_videos(dataset: Any) -> int:
    """Number of videos in a data set; repetitions count once."""
    if hasattr(dataset, 'datasets'):
        return sum(map(num_videos, dataset.datasets))
    if hasattr(dataset, 'dataset'):
        return num_videos(dataset.dataset)
    return len(dataset)
