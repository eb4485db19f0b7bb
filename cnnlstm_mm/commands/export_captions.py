"""Export a captioner to ONNX: a step of the encoder, and a step of the decoder.

    cnnlstm-mm export-captions CONFIG CHECKPOINT --out captioner

It writes captioner_encoder.onnx and captioner_decoder.onnx, which OnnxStreamingCaptioner runs
without PyTorch, by greedy search. Both are written only if their captions of a video, after each
of its frames, are PyTorch's.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from mmengine.runner.checkpoint import _load_checkpoint

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.captions.inference import load_captioner
from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.engine.launch import load_config
from cnnlstm_mm.export.caption_graphs import check_captions, export_captioner
from cnnlstm_mm.export.samples import made_video, read_frames
from cnnlstm_mm.run_identity import KEY, checkpoint_facts
from cnnlstm_mm.storage import atomic_path, locked
from cnnlstm_mm.streaming import OnnxStreamingCaptioner, StreamingCaptioner

PARTS = ('encoder', 'decoder')
TOLERANCE = 1e-4  # of a log-probability


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Export a captioner to ONNX')
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', type=Path, help='start of the file names; default: CONFIG_NAME, by the checkpoint'
    )
    parser.add_argument('--opset', type=int, default=18, help='at least 18')
    parser.add_argument('--video', help='video for the comparison; default: a generated one')
    add_cfg_options(parser)
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)  # of load_config
    return parser


@torch.no_grad()
def export(args: argparse.Namespace) -> None:
    """Export, compare with PyTorch and print the difference."""
    if args.opset < 18:
        raise ValueError(f'expected --opset to be at least 18, got {args.opset}')
    if args.video and not Path(args.video).is_file():
        raise FileNotFoundError(
            f'expected an existing video, got {args.video}: no such file; fix: name another'
        )
    cfg = load_config(args)
    model = load_captioner(cfg, args.checkpoint)
    model.cls_head.beam_width = model.cls_head.n_best = 1  # as the files do
    model.cls_head.no_repeat_ngram = None
    model.cls_head.length_penalty = 0.0
    captioner = StreamingCaptioner.from_model(model, cfg)
    loaded = _load_checkpoint(args.checkpoint, map_location='cpu')
    facts = {KEY: checkpoint_facts(args.checkpoint, loaded)}
    out = args.out or Path(args.checkpoint).with_name(Path(args.config).stem)
    with locked(out, 'export-captions', file=True), tempfile.TemporaryDirectory() as folder:
        stem = Path(folder, 'captioner')
        export_captioner(captioner, stem, facts, args.opset)
        video = args.video or str(Path(folder) / 'made.mp4')
        if not args.video:
            made_video(video)
        frames = read_frames(video, captioner.encoder.frame_interval)
        found = check_captions(captioner, OnnxStreamingCaptioner(stem), frames)
        name = args.video or 'a generated video'
        print(f'largest difference of a log-probability from PyTorch over {name}: {found:.1e}')
        if not found <= TOLERANCE:
            raise ValueError(
                f'expected the same captions and a difference of at most {TOLERANCE:.0e}, got '
                f'{found:.1e}: {out} was not written; fix: try another --opset, report the model'
            )
        for part in PARTS:
            path = out.with_name(f'{out.name}_{part}.onnx')
            with atomic_path(path) as new:
                new.write_bytes(Path(f'{stem}_{part}.onnx').read_bytes())
            print(f'wrote {path} ({path.stat().st_size / 2**20:.1f} MiB)')


def main(argv: list[str] | None = None) -> int:
    return run_command(export, argument_parser(), argv)
