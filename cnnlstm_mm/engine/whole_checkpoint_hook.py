"""No test and no training on half a checkpoint without a word."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from cnnlstm_mm.options import check_flag
from cnnlstm_mm.text import truncate_list
from cnnlstm_mm.weights import Differences, compare, unwrap_model, weights_in
from mmaction.registry import HOOKS

RESUMED = ('meta', 'message_hub', 'optimizer')


@HOOKS.register_module()
class WholeCheckpointHook(Hook):
    """Compare a checkpoint with the model before it is loaded.

    mmengine loads what fits, says what does not in the log, and goes on. Here

    - testing and resuming refuse a checkpoint that lacks weights of the model
      or has them in other shapes;
    - a training with ``load_from`` takes what fits, with a warning that says
      how much starts anew, and refuses a file of which nothing fits;
    - all refuse weights that are NaN or infinite.

    Args:
        allow_missing (bool): Let a test run on what fits, with a warning.
            Defaults to False.

    Raises:
        RuntimeError, ValueError: When a checkpoint is loaded, see above; with
            the names of the weights.
    """

    def __init__(self, allow_missing: bool = False) -> None:
        check_flag(allow_missing=allow_missing)
        self.allow_missing = allow_missing

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare."""
        name = str(runner._load_from or f'the latest checkpoint of {runner.work_dir}')
        model = unwrap_model(runner.model)
        found = compare(weights_in(checkpoint, name), model, name)
        lost = len(found.missing) + len(found.reshaped)
        if runner._resume:
            absent = [key for key in RESUMED if key not in checkpoint]
            if absent:
                raise RuntimeError(
                    f'{name} cannot be resumed: it has no '
                    f'{", ".join(absent)}, so it holds weights alone. To '
                    'begin a training with them: --cfg-options '
                    f'load_from={runner._load_from}, without --resume.'
                )
        if not lost:
            return
        training = isinstance(runner._train_loop, BaseLoop)
        if runner._resume or not (training or self.allow_missing):
            raise RuntimeError(
                f'{name} does not fit the config. {told(found)}\nName the '
                'config that it was trained with'
                + (
                    '.'
                    if runner._resume
                    else ', or test with what fits: --cfg-options '
                    'default_hooks.whole_checkpoint.allow_missing=True'
                )
            )
        if not found.fitting:
            raise RuntimeError(
                f'nothing of {name} fits the model: it is of another '
                f'architecture. {told(found)}\nName another load_from, or '
                'none.'
            )
        runner.logger.warning(
            f'Only {found.fitting} of {found.fitting + lost} weights come '
            f'from {name}; the others start anew. {told(found)}'
        )


def told(found: Differences) -> str:
    """What differs, in words."""
    parts = []
    for what, names in (
        ('It lacks', found.missing),
        ('Other shapes:', found.reshaped),
        ('It has, and the model has not:', found.unexpected),
    ):
        if names:
            parts.append(f'{what} {truncate_list(names)}.')
    return ' '.join(parts)
