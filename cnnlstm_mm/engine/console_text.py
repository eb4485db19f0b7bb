"""A run, its model and its numbers in words for a console."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from cnnlstm_mm.weights import unwrap_model


def run_name(runner: Runner) -> str:
    """The config's name."""
    return Path(str(runner.cfg.filename or runner.experiment_name)).stem


def describe_model(model: Any) -> str:
    """Backbone, neck and head, and how many parameters are trained."""
    model = unwrap_model(model)
    backbone = getattr(model, 'backbone', None)
    inner = getattr(backbone, 'backbone', backbone)
    neck = getattr(model, 'neck', None) if getattr(model, 'with_neck', True) else None
    parts = [] if inner is None else [type(inner).__name__]
    if neck is not None:
        parts.append(getattr(neck, 'display_name', type(neck).__name__))
    parts.append(type(getattr(model, 'cls_head', model)).__name__)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    total, trained = sum(n for n, _ in sizes), sum(n for n, grad in sizes if grad)
    some = '' if trained == total else f', {trained:,} of them trained'
    return f'{" + ".join(parts)}, {total:,} parameters{some}'


def device_of(runner: Runner) -> str:
    """Where the model is."""
    parameter = next(runner.model.parameters(), None)
    return 'cpu' if parameter is None else str(parameter.device)


def scalar_names(runner: Runner) -> list[str]:
    """Loss, and accuracy where the head measures one."""
    names = [name.removeprefix('train/') for name in runner.message_hub.log_scalars]
    accuracies = [name for name in names if name.endswith('_acc') and name != 'top5_acc']
    return ['loss'] * ('loss' in names) + accuracies


def describe_metrics(metrics: dict[str, Any] | None) -> str:
    """Metrics in a line."""
    return '  '.join(
        f'{name} {value:.4f}' if isinstance(value, float) else f'{name} {value}'
        for name, value in (metrics or {}).items()
    )


def count_frames(data_batch: Any) -> int:
    """Frames, or steps of stored features, in a batch: views x time, or pictures."""
    inputs = data_batch.get('inputs', ()) if isinstance(data_batch, dict) else ()
    total = 0
    for x in inputs if isinstance(inputs, Sequence) or hasattr(inputs, '__len__') else ():
        shape = tuple(getattr(x, 'shape', ()))
        total += shape[0] * shape[2] if len(shape) == 5 else shape[0] if shape else 1
    return total
