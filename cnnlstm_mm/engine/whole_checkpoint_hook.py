"""Refuse to load a partial checkpoint silently."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from cnnlstm_mm.options import check_bool
from cnnlstm_mm.weights import check_no_nan, compare, extract_state_dict, unwrap_model
from mmaction.registry import HOOKS

RESUMED = ('meta', 'message_hub', 'optimizer')


@HOOKS.register_module()
class WholeCheckpointHook(Hook):
    """Compare a checkpoint with the model before it is loaded.

    mmengine loads what fits, logs what does not, and goes on. With this hook

    - testing and resuming refuse a checkpoint that lacks weights of the model or has them in other
      shapes;
    - a training with ``load_from`` takes the weights that fit, warns of those that start untrained,
      and refuses a file of which nothing fits;
    - all refuse weights that are NaN or infinite, and a training those that ``init_cfg`` loads.

    Args:
        allow_missing: Let a test run on what fits, with a warning.

    Raises:
        RuntimeError, ValueError: When a checkpoint is loaded, see above; with the names of the
            weights.
    """

    def __init__(self, allow_missing: bool = False) -> None:
        check_bool(allow_missing=allow_missing)
        self.allow_missing = allow_missing

    def before_train(self, runner: Runner) -> None:
        """Check the initial weights, wherever they come from."""
        check_no_nan(runner.model, 'initial weights (from load_from, init_cfg or pretrained)')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare."""
        name = str(runner._load_from or f'the latest checkpoint of {runner.work_dir}')
        found = compare(extract_state_dict(checkpoint, name), unwrap_model(runner.model), name)
        lost = len(found.missing) + len(found.reshaped)
        if runner._resume:
            absent = [key for key in RESUMED if key not in checkpoint]
            if absent:
                raise RuntimeError(
                    f'{name} cannot be resumed: expected a checkpoint of a training, got weights '
                    f'without {", ".join(absent)}; fix: begin a training with them, '
                    f'--cfg-options load_from={runner._load_from} without --resume.'
                )
        if not lost:
            return
        training = isinstance(runner._train_loop, BaseLoop)
        if runner._resume or not (training or self.allow_missing):
            fix = 'name the config that it was trained with'
            if not runner._resume:
                fix += (
                    ', or test with what fits: --cfg-options '
                    'default_hooks.whole_checkpoint.allow_missing=True'
                )
            raise RuntimeError(f'{name} does not fit the config. {found} fix: {fix}.')
        if not found.fitting:
            raise RuntimeError(
                f'{name} is of another architecture: none of its weights fits. {found} fix: name '
                'another load_from, or none.'
            )
        runner.logger.warning(
            f'Only {found.fitting} of {found.fitting + lost} weights come from {name}; the others '
            f'start untrained. {found}'
        )
