r"""Top-1 accuracy against the observed part of the video.

    cnnlstm-mm analysis early-recognition CONFIG CHECKPOINT \\
        [CONFIG CHECKPOINT ...] --json early.json --plot early.png

A model whose head scores every step ('stream') reads the frames one by one, at
the config's frame_interval, and predicts after each part. Any other model
('clip') runs its test pipeline on each part as if the video ended there.
--modes overrides this choice.
"""

import argparse
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from rich.progress import track

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.config import innermost_datasets, test_pipeline
from cnnlstm_mm.datasets.path_decord_init import read_by_path
from cnnlstm_mm.lab.analysis.cli import (
    add_model_arguments,
    chosen_videos,
    load_test_config,
    model_pairs,
    test_lists,
)
from cnnlstm_mm.lab.figures import Figure, save_figure
from cnnlstm_mm.lab.markdown import markdown_table
from cnnlstm_mm.storage import write_json
from cnnlstm_mm.streaming import StreamingRecognizer
from cnnlstm_mm.weights import check_no_nan
from mmaction.apis import init_recognizer
from mmaction.registry import DATASETS

CHUNK = 32  # frames that are decoded and recognized together


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Top-1 against the observed part of the video')
    add_model_arguments(parser)
    parser.add_argument(
        '--modes',
        nargs='+',
        choices=['auto', 'stream', 'clip'],
        default=['auto'],
        help='one for all models, or one per model',
    )
    parser.add_argument(
        '--parts',
        nargs='+',
        type=float,
        metavar='PERCENT',
        default=list(range(10, 101, 10)),
        help='observed parts of the video; default: 10 20 ... 100',
    )
    return parser


class TestVideos:
    """The test list of a config, read frame by frame.

    Args:
        max_videos (int, optional): Number of videos, evenly spaced over the
            list. Defaults to None, all.
    """

    def __init__(self, cfg: Config, max_videos: int | None = None) -> None:
        dataset = copy.deepcopy(cfg.test_dataloader.dataset)
        self.pipeline = read_by_path(test_pipeline(cfg))
        # It sets total_frames; a list of frame folders has them already.
        self.opens = [t for t in self.pipeline if t['type'].endswith('Init')]
        self.rest = Compose([t for t in self.pipeline if t not in self.opens])
        self.open = Compose(self.opens)
        self.decode = Compose([t for t in self.pipeline if t['type'].endswith('Decode')])
        for inner in innermost_datasets(dataset):
            inner['pipeline'] = []
        self.dataset = DATASETS.build(dataset)
        self.numbers = chosen_videos(len(self.dataset), max_videos)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[dict]:
        for number in self.numbers:
            yield self.dataset.get_data_info(int(number))

    def opened(self, info: dict) -> dict:
        """A copy of ``info`` with ``total_frames``."""
        return self.open(copy.deepcopy(info))

    def frames(self, info: dict, indices: np.ndarray) -> list[np.ndarray]:
        """Decode some frames, RGB uint8 [H, W, 3] each."""
        results = self.opened(info)
        results['frame_inds'] = indices + info['start_index']
        return self.decode(results)['imgs']

    def clip(self, info: dict, total_frames: int) -> dict:
        """Run the test pipeline on the first ``total_frames`` frames."""
        results = self.opened(info)
        results['total_frames'] = total_frames
        return self.rest(results)


def observed(total: int, parts: Sequence[float]) -> list[int]:
    """Number of frames in each part, at least one."""
    return [max(1, round(total * part / 100)) for part in parts]


def stream_answers(
    rec: StreamingRecognizer, videos: TestVideos, info: dict, parts: Sequence[float]
) -> list[int]:
    """Class predicted by a stream after each part."""
    total = videos.opened(info)['total_frames']
    indices = np.arange(0, total, rec.frame_interval)
    answers, state = [], None
    for start in range(0, len(indices), CHUNK):
        frames = videos.frames(info, indices[start : start + CHUNK])
        scores, state = rec.steps(np.stack(frames)[None], state)
        answers += scores[0].argmax(1).tolist()
    return [answers[(count - 1) // rec.frame_interval] for count in observed(total, parts)]


def clip_answers(
    model: torch.nn.Module, videos: TestVideos, info: dict, parts: Sequence[float]
) -> list[int]:
    """Class predicted by a clip model if the video ends after each part."""
    total = videos.opened(info)['total_frames']
    clips = [videos.clip(info, count) for count in observed(total, parts)]
    with torch.no_grad():
        done = model.test_step(pseudo_collate(clips))
    return [int(sample.pred_label) for sample in done]


def measure(config: str, checkpoint: str, mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run one model over its test list.

    Args:
        config (str): Config file.
        checkpoint (str): Checkpoint file.
        mode (str): 'auto', 'stream' or 'clip'.
        args (Namespace): Arguments of the tool.

    Returns:
        dict: ``name``, ``mode``, ``videos`` and ``top1``, a share for each
        part.

    Raises:
        RuntimeError: If a video cannot be read; names it.
    """
    cfg = load_test_config(config, args.cfg_options)
    if mode == 'auto':
        mode = 'stream' if cfg.model.cls_head.type == 'PerStepHead' else 'clip'
    if mode == 'stream':
        model = StreamingRecognizer(cfg, checkpoint, args.device)
        answer = stream_answers
    else:
        model = init_recognizer(cfg, checkpoint, args.device)
        check_no_nan(model, checkpoint)
        answer = clip_answers
    videos = TestVideos(cfg, args.max_videos)
    name = Path(config).stem
    right = np.zeros(len(args.parts))
    for info in track(videos, f'{name} ({mode})', len(videos)):
        try:
            answers = answer(model, videos, info, args.parts)
        except Exception as error:
            raise RuntimeError(
                f'{info.get("filename") or info.get("frame_dir")} of '
                f'{test_lists(cfg)} could not be recognized: '
                f'{type(error).__name__}: {error}'
            ) from error
        right += np.equal(answers, info['label'])
    return dict(
        name=name,
        mode=mode,
        config=config,
        checkpoint=checkpoint,
        videos=len(videos),
        top1=(right / len(videos)).tolist(),
    )


def table(parts: Sequence[float], curves: Sequence[dict]) -> str:
    """Format the curves as a Markdown table."""
    rows = [['observed', *(f'{c["name"]} ({c["mode"]})' for c in curves)]]
    rows += [
        [f'{part:g} %', *(f'{100 * c["top1"][k]:.1f} %' for c in curves)]
        for k, part in enumerate(parts)
    ]
    return markdown_table(rows)


def plot(parts: Sequence[float], curves: Sequence[dict], path: str) -> None:
    """Draw top-1 against the observed part."""
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for curve in curves:
        axes.plot(
            parts,
            [100 * value for value in curve['top1']],
            marker='o',
            label=f'{curve["name"]} ({curve["mode"]})',
        )
    axes.set(xlabel='observed part of the video, %', ylabel='top-1, %', ylim=(0, 102))
    axes.grid(alpha=0.3)
    axes.legend(loc='best', fontsize='small')
    save_figure(figure, path)


def compare(args: argparse.Namespace) -> None:
    """Print the table; write the JSON and the plot."""
    pairs = model_pairs(args.models)
    modes = args.modes * len(pairs) if len(args.modes) == 1 else args.modes
    if len(modes) != len(pairs):
        raise ValueError(
            f'expected --modes for {len(pairs)} models, got {len(modes)}; fix: name one, or '
            'one per model'
        )
    if not all(0 < part <= 100 for part in args.parts):
        raise ValueError(f'expected --parts in percent, above 0 and up to 100, got {args.parts}')
    args.parts = sorted(args.parts)
    curves = [measure(*pair, mode, args) for pair, mode in zip(pairs, modes)]
    print(table(args.parts, curves))
    if args.json:
        write_json(args.json, dict(parts=args.parts, curves=curves), indent=1)
    if args.plot:
        plot(args.parts, curves, args.plot)


def main(argv: list[str] | None = None) -> int:
    return run_command(compare, argument_parser(), argv)
