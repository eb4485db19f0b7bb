"""Losses whose class weights come from the training list: ``class_weight='balanced'``."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from mmaction.models.losses import BCELossWithLogits, CrossEntropyLoss
from mmaction.registry import MODELS

BALANCED = 'balanced'


class _BalancedMixin:
    """Takes ``class_weight='balanced'``, which cnnlstm-mm train replaces with numbers.

    Models are built from such configs by all tools; only a training needs the weights.
    """

    def __init__(
        self, loss_weight: float = 1.0, class_weight: Sequence[float] | str | None = None
    ) -> None:
        self.balanced = isinstance(class_weight, str)
        if self.balanced and class_weight != BALANCED:
            raise ValueError(
                f"class_weight: expected numbers or 'balanced', got {class_weight!r}; fix: "
                'write one number per class'
            )
        super().__init__(loss_weight, None if self.balanced else class_weight)

    def _forward(self, cls_score: Tensor, label: Tensor, **kwargs: Any) -> Tensor:
        if self.balanced:
            raise ValueError(
                "expected numbers for class_weight='balanced'; fix: train with cnnlstm-mm train, "
                'which computes them from the training list'
            )
        return super()._forward(cls_score, label, **kwargs)


@MODELS.register_module(name='CrossEntropyLoss', force=True)
class BalancedCrossEntropyLoss(_BalancedMixin, CrossEntropyLoss):
    """MMAction2's CrossEntropyLoss, under its name, also with ``class_weight='balanced'``."""


@MODELS.register_module(name='BCELossWithLogits', force=True)
class BalancedBCELossWithLogits(_BalancedMixin, BCELossWithLogits):
    """MMAction2's BCELossWithLogits, under its name, also with ``class_weight='balanced'``."""


def balanced_weights(labels: Iterable[Sequence[int]], num_classes: int) -> list[float]:
    """Weights in inverse proportion to the clips of each class.

    Args:
        labels: Of each clip; those beyond ``num_classes`` are ignored.
        num_classes: Of the head.

    Returns:
        clips / (classes that occur * clips of the class), as scikit-learn's
        ``class_weight='balanced'``; 1 for classes without a clip.
    """
    counts = [0] * num_classes
    for clip in labels:
        for label in clip:
            if 0 <= label < num_classes:
                counts[label] += 1
    total, present = sum(counts), sum(map(bool, counts))
    return [total / (present * count) if count else 1.0 for count in counts]
