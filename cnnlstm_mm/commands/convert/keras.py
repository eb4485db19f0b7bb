"""Convert weights that Keras saved into a checkpoint for this package."""

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.engine.checkpoint_files import save_checkpoint
from cnnlstm_mm.keras_weights import convert
from cnnlstm_mm.resources import find_config

CONFIG_OF_NECK = dict(
    ConvLSTMNeck='mobilenet_convlstm_ucf101.py', LSTMPoolingNeck='mobilenet_lstm_ucf101.py'
)


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Convert the Keras MobileNet (no top), or a whole MobileNet'
        ' + ConvLSTM2D or LSTM model, into a checkpoint. Needs h5py, not '
        'Keras.'
    )
    parser.add_argument('input', type=Path, help='a .keras, .weights.h5 or legacy .h5 file')
    parser.add_argument('output', type=Path, help='the .pth file to write')
    parser.add_argument(
        '--spatial-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='size of the output of ConvLSTM2D, where it is not square',
    )
    return parser


def how_to_load(model: dict, output: Path) -> str:
    """Format the config line or the command that loads a checkpoint.

    Args:
        model (dict): Config of the module that the weights fit.
        output (Path): The checkpoint.

    Returns:
        str: A line of a config for a backbone, a command for a recognizer.
    """
    if model['type'] == 'MobileNetV1':
        return (
            'Load it in a config with:\n'
            f"  backbone=dict(type='MobileNetV1', "
            f'widen_factor={model["widen_factor"]}, '
            f"init_cfg=dict(type='Pretrained', checkpoint='{output}'))"
        )
    name = CONFIG_OF_NECK[model['neck']['type']]
    options = differences(Config.fromfile(find_config(name)).model.to_dict(), model)
    command = f'cnnlstm-mm test {Path(name).stem} {output}'
    if options:
        values = ' '.join(f'"model.{k}={str(v).replace(" ", "")}"' for k, v in options.items())
        command += f' --cfg-options {values}'
    return f'Test it, or set load_from in a config on {name} to train on:\n  {command}'


def differences(base: dict[str, Any], model: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Settings of ``model`` that ``base`` lacks or sets to another value, by dotted key."""
    found = {}
    if not base.keys() <= model.keys() and 'type' in model and base.get('type') != model['type']:
        found, base = {f'{prefix}_delete_': True}, {}
    for key, value in model.items():
        if isinstance(value, dict):
            found.update(differences(base.get(key, {}), value, f'{prefix}{key}.'))
        elif key not in base or base[key] != value:
            found[prefix + key] = value
    return found


def convert_file(args: argparse.Namespace) -> None:
    """Convert, write and report."""
    weights, model = convert(args.input, args.spatial_size)
    meta = dict(keras_file=args.input.name, model=model)
    save_checkpoint(dict(state_dict=weights, meta=meta), args.output)
    count = sum(w.numel() for w in weights.values())
    print(
        f'{args.input}: {len(weights)} arrays, {count:,} numbers, for '
        f'{model["type"]} -> {args.output}\n'
        f'{how_to_load(model, args.output)}'
    )


def main(argv: list[str] | None = None) -> int:
    return run_command(convert_file, argument_parser(), argv)
