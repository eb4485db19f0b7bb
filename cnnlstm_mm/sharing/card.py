"""Model card from the facts of a run."""

from pathlib import Path
from typing import Any

from cnnlstm_mm.lab.report.result import RunResult
from cnnlstm_mm.storage import write_text
from cnnlstm_mm.version import __version__

from .bundle import CARD

TAGS = ['video-classification', 'action-recognition', 'cnnlstm_mm', 'mmaction2']
METRICS = dict(
    top1='top-1 accuracy',
    top5='top-5 accuracy',
    mean_class='mean class accuracy',
    mean_ap='mean average precision',
)


def write_card(
    folder: Path,
    name: str,
    labels: list[str],
    run: RunResult | None = None,
    license_name: str | None = None,
    onnx: list[str] | None = None,
) -> None:
    """Write README.md with the metadata that the Hub reads.

    Args:
        folder: Of the model.
        name: Of the model: a repository, or the recipe.
        labels: Class names.
        run: Facts of its training; None where they are not at hand.
        license_name: Of the weights, as the Hub spells it.
        onnx: Names of exported models beside.

    Raises:
        ModuleNotFoundError: If huggingface_hub is not installed.
    """
    from .hub import hub

    data: dict[str, Any] = dict(library_name='cnnlstm_mm', pipeline_tag=TAGS[0], tags=TAGS)
    if license_name:
        data['license'] = license_name
    scores = _scores(run)
    if run is not None and scores:
        data['model_name'] = name.rpartition('/')[2]
        data['eval_results'] = [
            hub().EvalResult(
                task_type=TAGS[0],
                dataset_type=run.data,
                dataset_name=run.data,
                metric_type=key,
                metric_name=METRICS[key],
                metric_value=round(100 * value, 2),
            )
            for key, value in scores.items()
        ]
    head = hub().ModelCardData(**data).to_yaml()
    text = _text(name, labels, run, scores, onnx or [])
    write_text(folder / CARD, f'---\n{head}\n---\n\n{text}')


def _scores(run: RunResult | None) -> dict[str, float]:
    if run is None:
        return {}
    return {key: getattr(run, key) for key in METRICS if getattr(run, key) is not None}


def _text(
    name: str, labels: list[str], run: RunResult | None, scores: dict[str, float], onnx: list[str]
) -> str:
    lines = [f'# {name}', '']
    lines += ['Names the action in a video, clip by clip or frame by frame.', '']
    lines += ['```python', 'from cnnlstm_mm.streaming import StreamingRecognizer', '']
    lines += [f"rec = StreamingRecognizer.from_pretrained('{name}')"]
    lines += ['scores, state = rec.step([frame], None)  # uint8 RGB [H, W, 3]', '```', '']
    lines += [f'Or `cnnlstm-mm pull {name} --out DIR`, then `cnnlstm-mm predict`. ']
    lines += [f'Written by cnnlstm_mm {__version__}; nothing here is pickled.', '']
    if onnx:
        lines += ['ONNX: ' + ', '.join(f'`{file}`' for file in onnx) + '.', '']
    if run is None:
        lines += ['The data, the protocol and the numbers of this model are not recorded.', '']
    else:
        lines += ['## Model and data', '', '| | |', '| --- | --- |']
        lines += [f'| {key} | {value} |' for key, value in _facts(run).items()]
        lines += ['', '## Numbers', '']
        if scores:
            lines += [
                f'One run, tested with {run.protocol}, {run.frames} frames of {run.resolution}.'
            ]
            lines += ['', '| metric | value |', '| --- | --- |']
            lines += [f'| {METRICS[key]} | {100 * value:.1f} % |' for key, value in scores.items()]
        else:
            lines += ['This run is not tested.']
        lines += ['', '## Limits', '']
        lines += [f'- {note}' for note in run.notes]
        lines += [f'- {run.state}.'] if run.state != 'finished' else []
        lines += [f'- Weakest classes: {_weakest(run)}.'] if len(run.per_class) > 1 else []
    lines += [f'- It gives each clip one of its {len(labels)} classes, whatever the clip shows.']
    lines += ['', f'Classes: {", ".join(labels)}', '']
    return '\n'.join(lines)


def _facts(run: RunResult) -> dict[str, Any]:
    facts = dict(
        data=run.data,
        split=run.split,
        backbone=run.backbone,
        neck=run.neck,
        initialized=run.pretrain,
        input=f'{run.frames} frames, {run.resolution}',
        trained=f'{run.epochs} of {run.max_epochs} {run.unit}, seed {run.seed}',
        config=Path(run.config).name,
        parameters=f'{run.params:,}' if run.params else None,
        multiply_adds=f'{run.flops / 1e9:.2f} G a view' if run.flops else None,
        run=run.run,
    )
    return {key.replace('_', '-'): value for key, value in facts.items() if value is not None}


def _weakest(run: RunResult) -> str:
    worst = sorted(run.per_class.items(), key=lambda item: item[1])[:3]
    return ', '.join(f'{name} ({100 * share:.0f} %)' for name, share in worst)
