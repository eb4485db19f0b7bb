"""Ready config for clips of one's own: a backbone, a neck and the lists."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from cnnlstm_mm.resources import resource_root


class Data(NamedTuple):
    """What a config says of the data.

    Attributes:
        root: Folder of the lists, with the clips below ``videos`` or ``frames``.
        lists: Name of the list of 'train', 'val' and 'test'.
        classes: Their names.
        several: Whether a clip has several labels.
        frames: For folders of frames ``filename_tmpl`` and ``start_index``, else None.
        interval: Frames of a video from one step to the next.
    """

    root: Path
    lists: dict[str, str]
    classes: Sequence[str]
    several: bool
    frames: dict[str, Any] | None
    interval: int


def parts_of(recipe: str) -> tuple[Path, Path]:
    """Files of the backbone and the neck of a recipe's name, such as mobilenetv2_lstm.

    Raises:
        ValueError: For an unknown one; with those that there are.
    """
    base = resource_root() / 'configs/_base_'
    backbone, _, neck = recipe.partition('_')
    files = base / f'backbones/{backbone}.py', base / f'necks/{neck}.py'
    for file, part, given in zip(files, ('backbone', 'neck'), (backbone, neck)):
        if not file.is_file():
            known = sorted(one.stem for one in file.parent.glob('*.py') if '_' not in one.stem)
            raise ValueError(
                f'--recipe {recipe}: expected BACKBONE_NECK with a {part} of {", ".join(known)}, '
                f'got {given or "none"}'
            )
    return files


def make_config(
    recipe: str, data: Data, steps: int = 16, balanced: bool = False, weights: str | None = None
) -> Config:
    """Join backbone, neck and data.

    Args:
        recipe: See :func:`parts_of`.
        data: The lists.
        steps: Frames of a clip.
        balanced: Weigh the classes against how often they are in the training list.
        weights: Checkpoint of the backbone; None for the recipe's.
    """
    own = resource_root() / 'configs/_base_/own.py'
    bases = [str(path) for path in (*parts_of(recipe), own)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'own.py')
        file.write_text(
            f"_base_ = {bases!r}\nmodel = _base_.pop('neck_part') | _base_.pop('recipe_part')\n",
            encoding='utf-8',
        )
        cfg = Config.fromfile(file, import_custom_modules=False)
    cfg.pop('data_help', None)
    cfg.data_root = data.root.as_posix()
    for mode in ('train', 'val', 'test'):
        _set_data(cfg, mode, data, steps)
    cfg.test_pipeline = cfg.val_pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.train_pipeline = cfg.train_dataloader.dataset.pipeline
    head = cfg.model.cls_head
    head.num_classes = len(data.classes)
    loss = 'CrossEntropyLoss'
    if data.several:
        loss = 'BCELossWithLogits'
        head.update(multi_class=True, average_clips='score')
        metric = dict(type='AccMetric', metric_list=('mean_average_precision',))
        cfg.val_evaluator = cfg.test_evaluator = metric
    if data.several or balanced:
        head.loss_cls = dict(type=loss, **(dict(class_weight='balanced') if balanced else {}))
    if weights is not None:
        inner = cfg.model.backbone.backbone
        inner.pop('pretrained', None)
        inner.init_cfg = dict(type='Pretrained', checkpoint=weights)
    return cfg


def _set_data(cfg: Config, mode: str, data: Data, steps: int) -> None:
    dataset = cfg[f'{mode}_dataloader'].dataset
    folder = 'frames' if data.frames else 'videos'
    places = {('img' if data.frames else 'video'): (data.root / folder).as_posix()}
    others = ('val', 'test') if mode != 'train' else ()
    name = next(data.lists[name] for name in (mode, *others) if name in data.lists)
    dataset.update(
        ann_file=(data.root / name).as_posix(),
        data_prefix=places,
        metainfo=dict(classes=tuple(data.classes)),
    )
    if data.several:
        dataset.update(multi_class=True, num_classes=len(data.classes))
    if data.frames:
        dataset.update(data.frames, type='CheckedRawframeDataset')
    else:
        dataset.delimiter = '\t'
    pipeline = []
    for transform in dataset.pipeline:
        transform = dict(transform)
        if transform['type'] == 'SampleFrames':
            transform.update(clip_len=steps, frame_interval=data.interval)
        if data.frames:
            if transform['type'] == 'DecordInit':
                continue
            if transform['type'] == 'DecordDecode':
                transform = dict(type='RawFrameDecode')
        pipeline.append(transform)
    dataset.pipeline = pipeline
