"""What is said and kept of a batch whose loss is no number."""

import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.runner import Runner
from mmengine.runner.checkpoint import get_state_dict, weights_to_cpu
from torch import Tensor

from cnnlstm_mm.text import truncate_list
from cnnlstm_mm.weights import unwrap_model


def samples_of(data_batch: Any) -> list[str]:
    """Name the samples of a batch.

    Args:
        data_batch (dict): ``inputs`` and ``data_samples``.

    Returns:
        list[str]: File and label of each, and whether its input has NaN.
    """
    faulty = faulty_samples(data_batch)
    named = []
    for k, sample in enumerate((data_batch or {}).get('data_samples', [])):
        name = sample.metainfo.get(
            'filename',
            f'sample {k} (PackActionInputs '
            "with meta_keys=('img_shape', 'filename') "
            'tells its file)',
        )
        label = sample.get('gt_label')
        if isinstance(label, Tensor):
            name += f', label {label.flatten().tolist()}'
        named.append(name + (': its input has NaN or infinity' if k in faulty else ''))
    return named


def faulty_samples(data_batch: Any) -> list[int]:
    """The numbers of samples whose floating-point input is not finite."""
    inputs = (data_batch or {}).get('inputs', [])
    return [
        k
        for k, value in enumerate(inputs)
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and not bool(value.isfinite().all())
    ]


def told(
    what: str, samples: Sequence[str], weights: Sequence[str], where: str | None = None
) -> str:
    """Put the report into words.

    Args:
        what (str): What has happened.
        samples (Sequence[str]): See :func:`samples_of`.
        weights (Sequence[str]): Names of weights that are not finite.
        where (str, optional): The dump. Defaults to None.

    Returns:
        str: One line a sample.
    """
    lines = [what + '.', 'The batch:', *(f'  {name}' for name in samples)]
    if weights:
        lines.append(f'Weights that are NaN or infinite already: {truncate_list(weights)}')
    if where is not None:
        lines.append(f'To look at: {where}')
    return '\n'.join(lines)


def dump(runner: Runner, data_batch: Any, losses: dict[str, Tensor]) -> str:
    """Write a batch and the model that it was fed to.

    ``torch.load`` opens both files with its default ``weights_only=True``;
    the model's is a checkpoint for ``load_from`` and ``tools/test.py``.

    Args:
        runner (Runner): Of the training.
        data_batch (dict): ``inputs`` and ``data_samples``.
        losses (dict[str, Tensor]): What the model returned.

    Returns:
        str: The files, or why there are none; a full disk must not hide what
        has happened.
    """
    folder = Path(runner.work_dir, 'non_finite')
    step, rank = runner.iter + 1, get_rank()
    batch = folder / f'iter_{step}_process_{rank}.pth'
    weights = folder / f'iter_{step}_model.pth'
    model = unwrap_model(runner.model)
    labels = [sample.get('gt_label') for sample in (data_batch or {}).get('data_samples', [])]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(
            dict(
                iter=step,
                epoch=runner.epoch + 1,
                samples=samples_of(data_batch),
                inputs=_on_cpu((data_batch or {}).get('inputs')),
                labels=_on_cpu(labels),
                losses=_on_cpu(losses),
                model=osp.basename(weights),
            ),
            batch,
        )
        if rank == 0:
            torch.save(dict(state_dict=weights_to_cpu(get_state_dict(model))), weights)
    except (OSError, RuntimeError) as error:
        return f'nothing could be written to {folder} ({error})'
    return f'{batch} (inputs, labels, losses) and {weights} (the weights)'


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_on_cpu(part) for part in value]
    return None
