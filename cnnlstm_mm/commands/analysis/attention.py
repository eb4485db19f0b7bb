"""Show which frames each word of a caption was written from.

cnnlstm-mm analysis attention VIDEO... CONFIG CHECKPOINT --out attention.png
"""

import argparse
from pathlib import Path

from mmengine.dataset import Compose

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.captions.attention_figure import attention_figure, find_attention
from cnnlstm_mm.captions.inference import load_captioner
from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.datasets.path_decord_init import read_by_path
from cnnlstm_mm.engine.launch import load_config
from cnnlstm_mm.lab.figures import save_figure
from cnnlstm_mm.options import check_int
from cnnlstm_mm.prediction.inputs import find_inputs
from cnnlstm_mm.prediction.model import test_dataset


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Show the attention of a captioner')
    parser.add_argument('inputs', nargs='+', metavar='video', help='as for cnnlstm-mm caption')
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', type=Path, default=Path('attention.png'), help='a PNG file')
    parser.add_argument('--clips', type=int, default=6, help='most clips, evenly chosen')
    add_cfg_options(parser)
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)  # of load_config
    return parser


def show(args: argparse.Namespace) -> None:
    """Write the picture and print the captions."""
    check_int(**{'--clips': args.clips})
    cfg = load_config(args)
    model = load_captioner(cfg, args.checkpoint)
    dataset = test_dataset(cfg)
    found = find_inputs(args.inputs, dataset)
    pipeline = Compose(read_by_path(dataset['pipeline'], dataset.get('decoder')))
    clips = []
    for clip in found[:: -(-len(found) // args.clips)]:
        clips.append(find_attention(model, pipeline(dict(clip))))
        print(f'{clip["filename"]}: {" ".join(clips[-1].words)}')
    save_figure(attention_figure(clips), args.out)
    print(f'wrote {args.out}')


def main(argv: list[str] | None = None) -> int:
    return run_command(show, argument_parser(), argv)
