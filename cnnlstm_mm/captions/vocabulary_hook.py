"""Keep the vocabulary in checkpoints, and tell of words that it lacks."""

from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from cnnlstm_mm.console import SHOWN
from cnnlstm_mm.text import truncate_list
from cnnlstm_mm.weights import unwrap_model
from mmaction.registry import HOOKS

from .vocabulary import META, Vocabulary


@HOOKS.register_module()
class VocabularyHook(Hook):
    """Write the vocabulary of a caption head into each checkpoint's meta; compare it when loading.

    After a training epoch it logs the words that the captions have and the vocabulary lacks,
    and how many captions were cut, if there are more of them than before.

    Raises:
        ValueError: When a checkpoint of another vocabulary is resumed or tested, or a training
            starts from one of another vocabulary of the same size.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._told: tuple[int, int] = (0, 0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the vocabulary."""
        vocabulary = vocabulary_of(runner)
        if vocabulary is not None:
            checkpoint['meta'][META] = vocabulary.text

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the vocabulary."""
        vocabulary, text = vocabulary_of(runner), (checkpoint.get('meta') or {}).get(META)
        if vocabulary is None or text is None:
            return
        words = Vocabulary(text).words
        if isinstance(runner._train_loop, BaseLoop) and not runner._resume:
            if len(words) != len(vocabulary):
                return  # the embeddings start anew, which WholeCheckpointHook tells
        if words != vocabulary.words:
            pairs = enumerate(zip(words, vocabulary.words))
            other = [f'{n}: {a!r}, here {b!r}' for n, (a, b) in pairs if a != b]
            raise ValueError(
                f'{runner._load_from}: expected the {len(vocabulary)} words of '
                f'model.cls_head.vocabulary, got {len(words)} ({truncate_list(other, 3)}); fix: '
                "name the vocabulary that it was trained with, it is in the checkpoint's "
                f'meta[{META!r}]'
            )

    def after_train_epoch(self, runner: Runner) -> None:
        """Tell of unknown words and cut captions."""
        vocabulary = vocabulary_of(runner)
        if vocabulary is None:
            return
        head = unwrap_model(runner.model).cls_head
        parts = all_gather_object((dict(vocabulary.unknown), head.cut))
        vocabulary.unknown.clear()
        head.cut = 0
        for words, _ in parts:
            vocabulary.unknown.update(words)
        found = len(vocabulary.unknown), sum(cut for _, cut in parts)
        if any(now > before for now, before in zip(found, self._told)):
            self._told = found
            cut = f'{found[1]} captions were cut to max_words={head.max_words}.' * bool(found[1])
            said = '. '.join(filter(None, [vocabulary.describe_unknown(), cut]))
            if said:
                runner.logger.info(said, extra=SHOWN)
        vocabulary.unknown.clear()


def vocabulary_of(runner: Runner) -> Vocabulary | None:
    """The vocabulary of the run's model; None if it writes no captions."""
    head = getattr(unwrap_model(runner.model), 'cls_head', None)
    return getattr(head, 'vocabulary', None)
