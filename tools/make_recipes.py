"""Leaf configs from a table of backbones, necks and data sets.

    python tools/make_recipes.py            # write configs/{backbone}_{neck}_{data}.py
                                            # and configs/metafile.yml, the list of all configs
    python tools/make_recipes.py --check    # name the files that differ, exit with 1

A new backbone: configs/_base_/backbones/NAME.py and a row in BACKBONES. A new neck:
configs/_base_/necks/NAME.py and a row in NECKS. A new data set: configs/_base_/recipes/NAME.py and
a row in RECIPES. Configs outside the table are written by hand.
"""

import argparse
import fnmatch
import itertools
import sys
from pathlib import Path
from typing import NamedTuple

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.storage import write_text

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
LINE_LENGTH = 100


class Leaf(NamedTuple):
    """Parts of a config, by their names in the tables below, and a comment."""

    backbone: str
    neck: str
    data: str
    frames: int
    comment: str = ''
    starts_from: str = ''  # the config whose training comes first


# Frames per clip of each backbone.
BACKBONES = dict(mobilenet=32, mobilenetv2=32, mobilenetv2tsm=8, resnet50=8, efficientnetlite0=8)
NECKS = ('avgpool', 'lstm', 'convlstm', 'lightconvlstm')
# Recipe of each data set by frames per clip.
RECIPES = dict(
    ucf101={32: 'ucf101', 8: 'ucf101_8'},
    hmdb51={32: 'hmdb51', 8: 'hmdb51_8'},
    kinetics400={32: 'kinetics400', 8: 'kinetics400_8'},
    weizmann={32: 'weizmann', 8: 'weizmann'},  # both take 8 frames
)
# Data sets that the order of frames decides: these backbones and necks, 8 frames and, by configs
# that end in _16, 16.
ORDER_BACKBONES = ('mobilenetv2', 'efficientnetlite0')
ORDER_NECKS = (*NECKS, 'minconvlstm')
ORDER_RECIPES = {
    data: {8: data, 16: f'{data}_16'} for data in ('sthv2', 'jester', 'diving48', 'rwf2000')
}
# Drawn gestures, and real ones that start from them: small models with each of these necks.
GESTURE_RECIPES = dict(gestures={16: 'gestures'}, egogestar={16: 'egogestar'})
# Stored features of a frozen backbone: plain necks, and residual ones after the averaging head.
FEATURE_RECIPES = dict(ucf101_mini10_16={16: 'ucf101_mini10_16', 0: 'ucf101_mini10_16_residual'})
ALL_RECIPES = RECIPES | ORDER_RECIPES | GESTURE_RECIPES | FEATURE_RECIPES
# Patterns of config names, and what they replace in a leaf; all that match apply, in order.
EXCEPTIONS = {
    'mobilenet_convlstm_*': dict(neck='convlstm_flatten'),
    'mobilenet_convlstm_ucf101': dict(
        comment='The seed model: MobileNet v1, 32 frames of 224x224, ConvLSTM 256 3x3.'
    ),
    'mobilenet_lstm_*': dict(neck='lstm_last'),
    'mobilenetv2_lightconvlstm_*': dict(
        frames=8, comment='3.12 G multiply-adds a view of 8 frames; TSM-MobileNetV2 costs 3.27.'
    ),
}


def make_table() -> dict[str, Leaf]:
    """Every backbone of a table with every neck on every data set of it, by config name."""
    table = {}
    for (backbone, frames), neck, data in itertools.product(BACKBONES.items(), NECKS, RECIPES):
        name = f'{backbone}_{neck}_{data}'
        table[name] = Leaf(backbone, neck, data, frames)
        for pattern, fields in EXCEPTIONS.items():
            if fnmatch.fnmatchcase(name, pattern):
                table[name] = table[name]._replace(**fields)
    for backbone, neck, (data, recipes) in itertools.product(
        ORDER_BACKBONES, ORDER_NECKS, ORDER_RECIPES.items()
    ):
        for frames, recipe in recipes.items():
            table[f'{backbone}_{neck}_{recipe}'] = Leaf(backbone, neck, data, frames)
    for neck, data in itertools.product(ORDER_NECKS, GESTURE_RECIPES):
        averaged = neck == 'avgpool'  # of differences it would know the order of two frames
        table[f'mobilenet_{neck}_{data}'] = Leaf(
            'mobilenet_025' if averaged else 'mobilenet_025_difference',
            neck if averaged else f'{neck}_small',
            data,
            16,
            starts_from=f'mobilenet_{neck}_gestures.py' if data == 'egogestar' else '',
        )
    for neck, data in itertools.product(ORDER_NECKS, FEATURE_RECIPES):
        file = neck if neck in ('avgpool', 'lstm') else f'{neck}_reduced'
        table[f'mobilenetv2_{neck}_{data}'] = Leaf('mobilenetv2_frozen3', file, data, 16)
        if neck != 'avgpool':
            table[f'mobilenetv2_{neck}_residual_{data}'] = Leaf(
                'mobilenetv2_frozen3',
                f'{neck}_residual',
                data,
                0,
                starts_from=f'mobilenetv2_avgpool_{data}.py',
            )
    return table


def make_text(leaf: Leaf) -> str:
    """The config file of a leaf, formatted as ``ruff format`` does."""
    bases = [
        f"'_base_/backbones/{leaf.backbone}.py'",
        f"'_base_/necks/{leaf.neck}.py'",
        f"'_base_/recipes/{ALL_RECIPES[leaf.data][leaf.frames]}.py'",
    ]
    line = f'_base_ = [{", ".join(bases)}]'
    if len(line) > LINE_LENGTH:
        line = '\n'.join(['_base_ = [', *(f'    {base},' for base in bases), ']'])
    comment = f'# {leaf.comment}\n' if leaf.comment else ''
    text = f"{comment}{line}\nmodel = _base_.pop('neck_part') | _base_.pop('recipe_part')\n"
    return text + (f"\nstarts_from = '{leaf.starts_from}'\n" if leaf.starts_from else '')


def make_metafile() -> str:
    """The list of all configs, by which mim and mmengine find them."""
    names = sorted({*make_table(), *(path.stem for path in CONFIGS.glob('*.py'))})
    lines = ['Collections:', '  - Name: cnnlstm_mm', 'Models:']
    for name in names:
        lines += [f'  - Name: {name}', '    In Collection: cnnlstm_mm']
        lines += [f'    Config: configs/{name}.py']
    return '\n'.join(lines) + '\n'


def make_recipes(args: argparse.Namespace) -> int:
    """Write the configs of the table, or compare them with it; 1 if ``--check`` found a difference."""
    changed = []
    files = {f'{name}.py': make_text(leaf) for name, leaf in make_table().items()}
    for name, text in {**files, 'metafile.yml': make_metafile()}.items():
        path = CONFIGS / name
        if not path.is_file() or path.read_text() != text:
            changed.append(path)
            if not args.check:
                write_text(path, text)
    for path in changed:
        print(f'{"differs" if args.check else "written"}: {path}')
    if args.check and changed:
        print(
            f'expected the configs of the table in tools/make_recipes.py, got {len(changed)} that '
            'differ; fix: edit the table or configs/_base_, then run python tools/make_recipes.py'
        )
        return 1
    return 0


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--check',
        action='store_true',
        help='write nothing; name the files that differ, exit with 1',
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(make_recipes, argument_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
