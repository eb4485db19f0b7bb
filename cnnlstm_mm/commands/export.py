"""Export a recognizer to ONNX: whole clips, or one frame and the state.

    cnnlstm-mm export CONFIG CHECKPOINT --mode step
    cnnlstm-mm export CONFIG CHECKPOINT --mode clip --video v.mp4
    cnnlstm-mm export CONFIG CHECKPOINT --mode step --int8 --calibration list.txt

The file is run in onnxruntime over a whole video and compared with PyTorch; it is written only if
the scores agree. Its metadata holds labels, preprocessing and the initial state of a stream.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.progress import Progress
from torch import nn

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, add_label_file, run_command
from cnnlstm_mm.config import check_classifier, normalization, read_labels, test_pipeline
from cnnlstm_mm.export import (
    ClipGraph,
    ListSamples,
    StepGraph,
    check_clip,
    check_step,
    clip_views,
    made_video,
    preprocessing,
    quantize,
    read_frames,
    save,
    step_facts,
    to_onnx,
)
from cnnlstm_mm.export.half import step_cost, to_half
from cnnlstm_mm.export.parity import prepared
from cnnlstm_mm.export.samples import one_view
from cnnlstm_mm.options import check_int
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.run_identity import KEY, checkpoint_facts
from cnnlstm_mm.storage import atomic_path, locked
from cnnlstm_mm.streaming import FrameTransform, OnnxStreamingRecognizer, StreamingRecognizer
from cnnlstm_mm.weights import load_complete, model_id
from mmaction.registry import MODELS

from .export_timing import Runner, session

TOLERANCE = 1e-4


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Export a recognizer to ONNX')
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--mode',
        choices=['clip', 'step'],
        required=True,
        help='clip: all views of a video to scores; step: a frame and states to scores and states',
    )
    parser.add_argument(
        '--out', help='the file; default: CONFIG_NAME_MODE.onnx beside the checkpoint'
    )
    parser.add_argument('--opset', type=int, default=18, help='at least 18')
    parser.add_argument('--video', help='video for the comparison; default: a generated one')
    parser.add_argument(
        '--frame-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='size of prepared frames, if the test pipeline does not fix it',
    )
    parser.add_argument(
        '--int8', action='store_true', help='also write OUT_int8.onnx, with an int8 backbone'
    )
    parser.add_argument(
        '--fp16',
        action='store_true',
        help='also write OUT_fp16.onnx, which computes in float16, and print how far its scores '
        'and states are from float32 over the video',
    )
    parser.add_argument(
        '--calibration',
        help='list of videos for --int8, which calibrates it and measures the top-1 of both models',
    )
    parser.add_argument(
        '--calibration-videos',
        type=int,
        default=20,
        help='number of videos that calibrate the ranges, evenly spaced over the list',
    )
    parser.add_argument(
        '--data-prefix',
        help="root folder of the paths in the list; default: that of the config's test data",
    )
    add_label_file(parser)
    add_cfg_options(parser)
    return parser


class Exporter:
    """Model, pipeline and labels of an export, in both modes."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.cfg = Config.fromfile(find_config(args.config))
        self.cfg.merge_from_dict(args.cfg_options or {})
        init_default_scope(self.cfg.get('default_scope', 'mmaction'))
        check_classifier(self.cfg)
        self.model: nn.Module = MODELS.build(self.cfg.model)
        checkpoint = load_complete(self.model, args.checkpoint)
        self.made_of = {KEY: checkpoint_facts(args.checkpoint, checkpoint)}
        self.model.eval()
        self.pipeline = test_pipeline(self.cfg)
        self.samples: Any = None
        if args.calibration:
            views = one_view(self.pipeline) if args.mode == 'step' else self.pipeline
            self.samples = ListSamples(args.calibration, args.data_prefix, views, self.cfg)
        self.labels = read_labels(self.cfg, self.model.cls_head.num_classes, args.label_file)

    def step(self, video: str, path: Path) -> float:
        """Export a single step; return the largest difference of a score over the video."""
        rec = StreamingRecognizer.from_model(self.model, self.cfg)
        size = self.args.frame_size or rec.transform.size
        if size is None:
            raise ValueError(
                'expected a frame size in the test pipeline or --frame-size, got neither; fix: '
                'pass --frame-size H W'
            )
        graph = StepGraph(rec, tuple(size))
        model = to_onnx(graph, self.args.opset)
        save(model, {**step_facts(rec, graph, self.labels), **self.made_of}, path)
        return check_step(
            rec, OnnxStreamingRecognizer(path), read_frames(video, rec.frame_interval)
        )

    def clip(self, video: str, path: Path) -> float:
        """Export whole clips; return the largest difference of a score over the video."""
        views = clip_views(self.pipeline, video)
        graph = ClipGraph(self.model, tuple(views.shape[2:]))
        model = to_onnx(graph, self.args.opset)
        save(
            model,
            dict(
                self.made_of,
                mode='clip',
                labels=self.labels,
                model_id=model_id(self.model),
                clip=dict(views=len(views), length=views.shape[2]),
                probabilities=graph.probabilities,
                preprocessing=preprocessing(
                    FrameTransform.from_pipeline(self.pipeline).steps,
                    views.shape[3:],
                    normalization(self.model.data_preprocessor),
                ),
            ),
            path,
        )
        return check_clip(self.model, session(path), views)

    def int8(self, path: Path, out: Path) -> dict[str, float]:
        """Quantize the float32 model and compare both over the list.

        Returns:
            dict: ``fp32`` and ``int8``, top-1 in percent; ``agree``, percentage
            of equal answers; ``fp32_ms`` and ``int8_ms``, medians on one
            thread; and ``videos``, ``used`` and ``convs``.
        """
        args = self.args
        step, samples = args.mode == 'step', self.samples
        used = samples.spread(args.calibration_videos)
        runners = {'fp32': Runner(self.model, path, step)}
        convs = quantize(
            path, out, (feed for views, _ in samples(used) for feed in runners['fp32'].feeds(views))
        )
        runners['int8'] = Runner(self.model, out, step)
        answers: dict[str, list[int]] = {name: [] for name in runners}
        labels = []
        with Progress() as progress:
            for views, label in progress.track(
                samples(range(len(samples))),
                total=len(samples),
                description='fp32 and int8 over the list',
            ):
                labels.append(label)
                for name, runner in runners.items():
                    answers[name].append(runner(views))
        top1 = {
            name: 100 * float(np.mean(np.equal(values, labels))) for name, values in answers.items()
        }
        agree = np.equal(answers['fp32'], answers['int8']).mean()
        times = {
            f'{name}_ms': 1e3 * statistics.median(runner.seconds[2:])
            for name, runner in runners.items()
        }
        return dict(
            top1, **times, agree=100 * float(agree), videos=len(labels), used=len(used), convs=convs
        )

    def fp16(self, video: str, path: Path, out: Path) -> dict[str, float]:
        """Convert to float16; the largest differences from float32 over the video."""
        to_half(path, out)
        if self.args.mode == 'step':
            full, half = OnnxStreamingRecognizer(path), OnnxStreamingRecognizer(out)
            return step_cost(full, half, read_frames(video, full.frame_interval))
        feed = dict(clips=prepared(self.model, [clip_views(self.pipeline, video)]))
        want, have = (session(file).run(None, feed)[0] for file in (path, out))
        return dict(scores=float(abs(want - have).max()))


@torch.no_grad()
def export(args: argparse.Namespace) -> None:
    """Export, compare with PyTorch and print the differences."""
    if args.int8 != bool(args.calibration):
        raise ValueError('expected --int8 and --calibration LIST together, got only one of them')
    if args.out and not args.out.endswith('.onnx'):
        raise ValueError(f'expected --out to be an .onnx file, got {args.out}')
    if args.opset < 18:
        raise ValueError(f'expected --opset to be at least 18, got {args.opset}')
    check_int(**{'--calibration-videos': args.calibration_videos})
    named = dict(video=args.video, list=args.calibration, label_file=args.label_file)
    for kind, name in named.items():
        if name and not Path(name).is_file():
            raise FileNotFoundError(
                f'expected an existing {kind}, got {name}: no such file; fix: name another'
            )
    default = Path(args.checkpoint).with_name(f'{Path(args.config).stem}_{args.mode}.onnx')
    out = Path(args.out or default)
    with locked(out, 'export_onnx', file=True):
        write(args, out)


def write(args: argparse.Namespace, out: Path) -> None:
    """Write the file, and the one in int8, which this run holds."""
    exporter = Exporter(args)

    def check(new: Path) -> None:
        print(
            f'largest difference of a score from PyTorch over '
            f'{args.video or "a generated video"}: {found:.1e}'
        )
        if not found <= TOLERANCE:
            raise ValueError(
                f'expected a difference of at most {TOLERANCE:.0e}, got {found:.1e}: {out} was not '
                'written; fix: try another --opset, and report the model'
            )

    with tempfile.TemporaryDirectory() as folder:
        video = args.video
        if video is None:
            video = str(Path(folder) / 'made.mp4')
            made_video(video)
        with atomic_path(out, check, '.onnx') as new:
            found = getattr(exporter, args.mode)(video, new)
        print(f'wrote {out} ({out.stat().st_size / 2**20:.1f} MiB)')
        if args.fp16:
            half = out.with_name(f'{out.stem}_fp16.onnx')
            with atomic_path(half, suffix='.onnx') as new:
                cost = exporter.fp16(video, out, new)
            print(
                f'wrote {half} ({half.stat().st_size / 2**20:.1f} MiB); largest difference from '
                f'float32 over {args.video or "a generated video"}: '
                + ', '.join(f'{name} {value:.1e}' for name, value in cost.items())
            )
    if args.int8:
        small = out.with_name(f'{out.stem}_int8.onnx')
        with atomic_path(small, suffix='.onnx') as new:
            found = exporter.int8(out, new)
        print(
            'wrote {path} ({size:.1f} MiB), {convs} convolutions in int8, '
            'ranges from {used} of {videos} videos\n'
            'top-1 over the list: fp32 {fp32:.1f} %, int8 {int8:.1f} % (loss '
            '{loss:.1f} points), same answer for {agree:.1f} %\n'
            'one thread, a {unit}: fp32 {fp32_ms:.1f} ms, int8 {int8_ms:.1f} '
            'ms ({ratio:.2f} x)'.format(
                path=small,
                size=small.stat().st_size / 2**20,
                loss=found['fp32'] - found['int8'],
                unit='frame' if args.mode == 'step' else 'video',
                ratio=found['int8_ms'] / found['fp32_ms'],
                **found,
            )
        )
        if found['int8_ms'] > found['fp32_ms']:
            print(
                'int8 is slower here: this CPU lacks fast int8 instructions '
                '(AVX512-VNNI, AVX-VNNI, or ARM dot products), or the '
                'backbone is too small.'
            )


def main(argv: list[str] | None = None) -> int:
    return run_command(export, argument_parser(), argv)
