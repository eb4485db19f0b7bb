"""The fixes of cnnlstm_mm.compat, and the files that a run needs."""

import json

from .result import Result, tried

# Each prints JSON: [[name, active, what was found], ...]
FIXES = r"""
import json, sys
import cnnlstm_mm
import numpy as np, torch
found = []
def fix(name, active, text):
    found.append([name, bool(active), text])
import mmaction.models
drn = sys.modules.get('mmaction.models.localizers.drn')
fix('mmaction.models without DRN (mmaction2#2714)', drn is not None,
    'DRN is installed' if getattr(drn, '__file__', None) else 'stand-in')
from mmengine.logging import HistoryBuffer
safe = [getattr(one, '__name__', one) for one in
        torch.serialization.get_safe_globals()]
fix('checkpoints of mmengine with weights_only (mmengine#1655)',
    'HistoryBuffer' in safe, 'allow-list')
from mmengine.runner import CheckpointLoader
fix('refused checkpoints are explained', getattr(
    CheckpointLoader.load_checkpoint.__func__, 'explains_refusal', False),
    'wrapped')
from mmaction.datasets.transforms import ColorJitter
try:
    ColorJitter.adjust_hue(np.zeros((1, 1, 3), np.uint8), -.1); good = True
except OverflowError:
    good = False
fix('ColorJitter under numpy 2', good, 'numpy ' + np.__version__)
from mmaction.models.heads import BaseHead
fix('losses from bfloat16 scores', getattr(
    BaseHead.loss_by_feat, 'takes_bfloat16', False), 'wrapped')
from mmengine.hooks import logger_hook
fix('test metrics are written once', hasattr(logger_hook.dump, '__wrapped__'), 'wrapped')
from mmaction.datasets.transforms import pose_transforms
from mmengine.utils.dl_utils import misc
fix('names that numpy 2 and Python 3.14 dropped', hasattr(pose_transforms.np, 'Inf') and
    hasattr(misc.pkgutil, 'find_loader'), 'given to MMAction2, mmengine and mmcv alone')
try:
    from moviepy.editor import ImageSequenceClip; good = True; text = 'imports'
except Exception as error:
    good = False; text = repr(error)
fix('moviepy.editor', good, text)
print(json.dumps(found))
"""
CONFIG = r"""
import json, sys
from argparse import Namespace
import cnnlstm_mm
from cnnlstm_mm.engine.launch import apply_flip_labels, check_files, load_config
cfg = load_config(Namespace(config=sys.argv[1], cfg_options=None,
                            launcher='none', work_dir=None, local_rank=0))
modes = [m for m in ('train', 'val', 'test') if cfg.get(f'{m}_dataloader')]
try:
    apply_flip_labels(cfg)
    check_files(cfg, modes)
    from mmaction.registry import DATASETS
    sizes = []
    for mode in modes:
        data = cfg[f'{mode}_dataloader'].dataset
        data.lazy_init = False
        sizes.append(f'{mode}: {len(DATASETS.build(data))}')
    from cnnlstm_mm.mirrored_classes import flip_warning
    print(json.dumps(['samples of ' + ', '.join(sizes), flip_warning(cfg)]))
except Exception as error:
    sys.exit(json.dumps(f'{error}'))
"""
LIST = r"""
import json, sys
import cnnlstm_mm
from cnnlstm_mm.datasets.annotation_list import load_files
try:
    path, videos, delimiter, several, names = sys.argv[1:]
    rows = load_files(path, videos, delimiter, bool(several), names or None)
    labels = [row['label'] if several else [row['label']] for row in rows]
    labels = sorted({label for part in labels for label in part}) or ['none']
    print(f'{len(rows)} videos, {len(labels)} labels from {labels[0]} to {labels[-1]}')
except Exception as error:
    sys.exit(json.dumps(f'{error}'))
"""


def fixes() -> list[Result]:
    """Whether the fix of each known breakage is active."""
    good, said = tried(FIXES)
    if not good:
        return [
            Result(
                'fixes of MMAction2',
                'failed',
                said,
                'cnnlstm_mm does not import: fix the lines above first.',
            )
        ]
    return [
        Result(
            f'fix: {name}',
            'ok' if active else 'failed',
            text,
            ''
            if active
            else "Import cnnlstm_mm before MMAction2: custom_imports=dict(imports=['cnnlstm_mm']).",
        )
        for name, active, text in json.loads(said)
    ]


def config_files(config: str) -> list[Result]:
    """Whether the lists, videos and weights that a config needs exist."""
    name, warning = f'files of {config}', ''
    good, said = tried(CONFIG, 300.0, config)
    if good:
        said, warning = json.loads(said)
    results = [_files(name, good, said)]
    if warning:
        found, _, cure = warning.partition('; fix: ')
        results.append(Result(f'flips of {config}', 'warning', found, cure))
    return results


def list_file(
    path: str, videos: str, delimiter: str = ' ', several: bool = False, names: str | None = None
) -> list[Result]:
    """Whether an annotation list and its videos can be read."""
    delimiter = delimiter.replace('\\t', '\t')  # as a shell passes it
    good, said = tried(LIST, 300.0, path, videos, delimiter, 'several' * several, names or '')
    return [_files(path, good, said)]


def _files(name: str, good: bool, said: str) -> Result:
    if good:
        return Result(name, 'ok', said)
    try:
        what, *more = json.loads(said).strip().splitlines()
    except ValueError:  # an error that is not from this package
        return Result(name, 'failed', said, 'Does the config load?')
    # Files are listed with two spaces before them; the cure follows.
    while more and more[0].startswith('  '):
        what += f'\n{more.pop(0)}'
    return Result(name, 'failed', what, '\n'.join(more))
