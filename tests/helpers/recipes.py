"""Names of the configs, and those that train a step in the tests."""

import copy
import functools
import itertools
import os

from helpers.support import ROOT
from mmengine.config import Config

BASE = ROOT / 'configs/_base_'
CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
# That of word vectors trains in test_embeddings_quickstart.py.
# Those of captions train in tests/captions/test_caption_training.py.
CAPTIONED = ('caption_quickstart', 'msvd', 'msrvtt')
CAPTION_CONFIGS = [path for path in CONFIGS if path.stem.endswith(CAPTIONED)]
VIDEO_CONFIGS = [
    path for path in CONFIGS if 'embeddings' not in path.stem and path not in CAPTION_CONFIGS
]
CLASSES = dict(ucf101=101, hmdb51=51, kinetics400=400, weizmann=10, mini10=10, quickstart=8)
ORDER = dict(sthv2=174, jester=27, diving48=48, rwf2000=2)
CLASSES.update(ORDER, gestures=10, egogestar=10)
BACKBONES = ('mobilenet', 'mobilenetv2', 'mobilenetv2tsm', 'resnet50', 'efficientnetlite0')
RECIPES = list(
    itertools.product(
        BACKBONES,
        ('avgpool', 'lstm', 'convlstm', 'lightconvlstm'),
        ('ucf101', 'hmdb51', 'kinetics400', 'weizmann'),
    )
)
ORDER_RECIPES = list(
    itertools.product(
        ('mobilenetv2', 'efficientnetlite0'),
        ('avgpool', 'lstm', 'convlstm', 'lightconvlstm', 'minconvlstm'),
        [f'{data}{frames}' for data in ORDER for frames in ('', '_16')],
    )
)
ORDER_RECIPES += itertools.product(
    ('mobilenet',),
    ('avgpool', 'lstm', 'convlstm', 'lightconvlstm', 'minconvlstm'),
    ('gestures', 'egogestar'),
)
ORDER_RECIPES += itertools.product(
    ('mobilenetv2',),
    (
        'avgpool',
        *(
            f'{neck}{kind}'
            for neck in ('lstm', 'convlstm', 'lightconvlstm', 'minconvlstm')
            for kind in ('', '_residual')
        ),
    ),
    ('ucf101_mini10_16',),
)
LEAVES = ['_'.join(recipe) for recipe in RECIPES + ORDER_RECIPES]
# Each backbone with each neck, each backbone frozen, and the configs outside the table.
TRAINED = [
    path
    for path in VIDEO_CONFIGS
    if path.stem not in LEAVES
    or path.stem.endswith(('_hmdb51', '_egogestar', '_ucf101_mini10_16'))
    or path.stem in (f'{b}_minconvlstm_rwf2000' for b in ('mobilenetv2', 'efficientnetlite0'))
    or path.stem == 'efficientnetlite0_avgpool_rwf2000'
    or path.stem in [f'{backbone}_lstm_weizmann' for backbone in BACKBONES]
]
MODES = ('train', 'val', 'test')


def load(path):
    return copy.deepcopy(read(path, os.environ.get('CNNLSTM_MM_SPLIT')))


@functools.cache
def read(path, split):
    return Config.fromfile(path)


def merged(base, *parts):
    """Nested dicts, the later part first; a plain value replaces a dict."""
    for part in parts:
        base = {
            **base,
            **{
                key: merged(base[key], value)
                if isinstance(value, dict) and isinstance(base.get(key), dict)
                else value
                for key, value in part.items()
            },
        }
    return base
