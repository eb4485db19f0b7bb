"""Convert the weights of a common PyTorch ConvLSTM into those of our layer.

cnnlstm-mm convert checkpoint theirs.pth convlstm.pth --prefix encoder.
"""

import argparse
from pathlib import Path

import torch

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.layers import load_convlstm
from cnnlstm_mm.storage import atomic_path


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Convert a ConvLSTM of github.com/ndrplz/ConvLSTM_pytorch, of OpenSTL, of '
        'automan000/Convolutional_LSTM_PyTorch or of the same layout into our layer'
    )
    parser.add_argument('input', type=Path, help='a checkpoint with weights by name')
    parser.add_argument('output', type=Path, help='the .pth file to write')
    parser.add_argument('--prefix', default='', help='of the names of the stack to convert')
    parser.add_argument(
        '--gate-order',
        metavar='IFGO',
        help="gates in the other layer's convolution, such as ifgo; default that of its author",
    )
    return parser


def convert(args: argparse.Namespace) -> None:
    """Convert, write and say how to load it."""
    layer = load_convlstm(args.input, args.prefix, args.gate_order)
    state = {f'neck.conv_lstm.{name}': value for name, value in layer.state_dict().items()}
    hidden = layer.hidden_channels
    options = dict(
        in_channels=layer.in_channels,
        hidden_channels=list(hidden) if isinstance(hidden, tuple) else hidden,
        kernel_size=layer.kernel_size,
    )
    if not isinstance(hidden, tuple) and layer.num_layers > 1:
        options['num_layers'] = layer.num_layers
    if not layer.bias:
        options['bias'] = False
    if layer.peephole:
        options['peephole'] = layer.peephole
    with atomic_path(args.output) as path:
        torch.save(dict(state_dict=state, meta=dict(neck=options)), path)
    told = ', '.join(f'{name}={value}' for name, value in options.items())
    print(
        f'{args.input}: {layer.num_layers} cells -> {args.output}\n'
        f'In PyTorch: cnnlstm_mm.layers.load_convlstm({str(args.input)!r}, {args.prefix!r})\n'
        f"In a config: neck=dict(type='ConvLSTMNeck', {told}, init_cfg=dict(type='Pretrained', "
        f"checkpoint='{args.output}', prefix='neck.'))"
    )


def main(argv: list[str] | None = None) -> int:
    return run_command(convert, argument_parser(), argv)
