"""Report and dump a batch with a non-finite loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.runner import Runner
from mmengine.runner.checkpoint import get_state_dict, weights_to_cpu
from torch import Tensor, nn

from cnnlstm_mm.storage import atomic_path
from cnnlstm_mm.text import truncate_list
from cnnlstm_mm.weights import unwrap_model


def describe_samples(data_batch: Any) -> list[str]:
    """File and label of each sample of a batch, and whether its input is not finite."""
    inputs = (data_batch or {}).get('inputs', [])
    lines = []
    for k, sample in enumerate((data_batch or {}).get('data_samples', [])):
        unnamed = f"sample {k} (its file: PackActionInputs(meta_keys=('img_shape', 'filename')))"
        line = sample.metainfo.get('filename', unnamed)
        label = sample.get('gt_label')
        if isinstance(label, Tensor):
            line += f', label {label.flatten().tolist()}'
        if k < len(inputs) and isinstance(inputs[k], Tensor) and not _is_finite(inputs[k]):
            line += ': its input has NaN or infinity'
        lines.append(line)
    return lines


def non_finite_parameters(model: nn.Module) -> list[str]:
    """Names of the parameters that hold NaN or infinity."""
    parameters = unwrap_model(model).named_parameters()
    return [name for name, parameter in parameters if not _is_finite(parameter.detach())]


def _is_finite(value: Tensor) -> bool:
    return bool(value.isfinite().all())


def format_report(
    event: str, samples: Sequence[str], weights: list[str], dump: str | None = None
) -> str:
    """Format what happened, one line per sample.

    Args:
        event: A sentence without its full stop.
        samples: See :func:`describe_samples`.
        weights: See :func:`non_finite_parameters`.
        dump: See :func:`dump_batch`.
    """
    lines = [f'{event}.', 'The batch:', *(f'  {name}' for name in samples)]
    if weights:
        lines.append(f'Weights that are NaN or infinite already: {truncate_list(weights)}')
    if dump is not None:
        lines.append(f'Dump: {dump}')
    return '\n'.join(lines)


def dump_batch(runner: Runner, data_batch: Any, losses: dict[str, Tensor]) -> str:
    """Write a batch and the model that it was fed to.

    ``torch.load`` opens both files with its default ``weights_only=True``; the model's is a
    checkpoint for ``load_from`` and ``cnnlstm-mm test``.

    Args:
        runner: Of the training.
        data_batch: ``inputs`` and ``data_samples``.
        losses: What the model returned.

    Returns:
        The files, or why there are none: a full disk must not hide the event.
    """
    folder = Path(runner.work_dir, 'non_finite')
    step, rank = runner.iter + 1, get_rank()
    batch, weights = folder / f'iter_{step}_process_{rank}.pth', folder / f'iter_{step}_model.pth'
    labels = [sample.get('gt_label') for sample in (data_batch or {}).get('data_samples', [])]
    content = dict(
        iter=step,
        epoch=runner.epoch + 1,
        samples=describe_samples(data_batch),
        inputs=_to_cpu((data_batch or {}).get('inputs')),
        labels=_to_cpu(labels),
        losses=_to_cpu(losses),
        model=weights.name,
    )
    try:
        with atomic_path(batch) as path:
            torch.save(content, path)
        if rank == 0:
            state = weights_to_cpu(get_state_dict(unwrap_model(runner.model)))
            with atomic_path(weights) as path:
                torch.save(dict(state_dict=state), path)
    except (OSError, RuntimeError) as error:
        return f'nothing could be written to {folder} ({error})'
    return f'{batch} (inputs, labels, losses) and {weights} (the weights)'


def _to_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _to_cpu(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_cpu(part) for part in value]
    return None
