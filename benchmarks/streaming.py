"""Cost of scores at every frame, side by side in one run.

A 320x240 frame goes in and scores come out, resizing included. Streaming takes the new frame alone;
a window runs the same model, or TSM-MobileNetV2, again on all of the last frames, as MMAction2's
webcam demo does; 'frames kept' saves the resizing of the older ones. All take turns at every repeat;
medians are printed next to MobileNetV2 alone in plain PyTorch. Weights are random.

    python benchmarks/streaming.py --json streaming.json

Then a stream of 10,000 frames through a small model: time and memory over it.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import cv2
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from streaming_onnx import exported

import cnnlstm_mm  # noqa: F401  before mmaction loads
from cnnlstm_mm.models.acceleration.folded_copy import has_bfloat16
from cnnlstm_mm.streaming import StreamingRecognizer
from mmaction.registry import MODELS

Peer = Callable[[np.ndarray], Any]
ALONE = 'MobileNetV2 alone'
NECKS = {
    'LSTM 256': dict(type='LSTMPoolingNeck', in_channels=1280, hidden_channels=256),
    'ConvLSTM 256, depthwise gates': dict(
        type='ConvLSTMNeck', in_channels=1280, hidden_channels=256, gate_conv='depthwise'
    ),
    'light ConvLSTM 256': dict(
        type='ConvLSTMNeck',
        in_channels=1280,
        hidden_channels=256,
        gate_conv='depthwise',
        reduce_channels=256,
    ),
    'ConvLSTM 256': dict(type='ConvLSTMNeck', in_channels=1280, hidden_channels=256),
}


def recognizer(neck: str, dtype: torch.dtype) -> StreamingRecognizer:
    """Build MobileNetV2 with a neck at 224x224, as in configs/."""
    cfg = Config.fromfile(ROOT / 'configs/mobilenetv2_lstm_ucf101.py')
    cfg.model.neck = NECKS[neck]
    return StreamingRecognizer(cfg, dtype=dtype)


def stream(rec: Any) -> Peer:
    """Run one step per frame."""
    state = None

    def step(frame: np.ndarray) -> Any:
        nonlocal state
        scores, state = rec.step(frame[None], state)
        return scores

    return step


def window(rec: StreamingRecognizer, length: int, kept: bool) -> Peer:
    """Run the same model on the last frames at each frame."""
    frames: list[np.ndarray] = []
    prepared: list[torch.Tensor] = []

    def run(frame: np.ndarray) -> Any:
        if kept:
            prepared.append(rec.prepare(frame[None]))
            del prepared[:-length]
            clip = prepared + prepared[-1:] * (length - len(prepared))
            x = torch.stack(clip, 2)  # [1, 3, T, h, w]
        else:
            frames.append(frame)
            del frames[:-length]
            clip = frames + frames[-1:] * (length - len(frames))
            x = rec.prepare(clip).transpose(0, 1)[None]
        return rec.steps(x)[0][:, -1]

    return run


def tsm_window(rec: StreamingRecognizer, length: int = 8) -> Peer:
    """Run TSM-MobileNetV2 as MMAction2 does, frames kept."""
    model = MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=dict(
                type='MobileNetV2TSM', num_segments=length, shift_div=8, pretrained2d=False
            ),
            cls_head=dict(
                type='TSMHead',
                num_segments=length,
                num_classes=101,
                in_channels=1280,
                is_shift=True,
                average_clips='prob',
            ),
        )
    )
    model.eval()
    frames: list[torch.Tensor] = []

    @torch.no_grad()
    def run(frame: np.ndarray) -> Any:
        frames.append(rec.prepare(frame[None]).contiguous())
        del frames[:-length]
        clip = frames + frames[-1:] * (length - len(frames))
        features, options = model.extract_feat(torch.stack(clip, 1), test_mode=True)
        return model.cls_head(features, **options)

    return run


def alone() -> Peer:
    """Run MobileNetV2 in eager PyTorch on a prepared frame."""
    model = MODELS.build(dict(type='MobileNetV2'))
    model.eval()
    x = torch.randn(1, 3, 224, 224)

    @torch.no_grad()
    def run(_: np.ndarray) -> Any:
        return model(x)

    return run


def all_peers() -> dict[str, Peer]:
    """Build all peers, by name."""
    peers = {ALONE: alone()}
    for neck in NECKS:
        rec = recognizer(neck, torch.float32)
        peers[f'stream: {neck}'] = stream(rec)
        for name, peer in exported(rec, torch.get_num_threads()).items():
            peers[f'stream: {neck}, {name}'] = stream(peer)
        if has_bfloat16(torch.device('cpu')):
            peers[f'stream: {neck}, bf16'] = stream(recognizer(neck, torch.bfloat16))
        if neck == 'LSTM 256':
            for length in (16, 32):
                peers[f'window of {length}: {neck}'] = window(rec, length, False)
            peers[f'window of 16: {neck}, frames kept'] = window(rec, 16, True)
            peers['window of 8: TSM, frames kept'] = tsm_window(rec)
    return peers


def measure(peers: dict[str, Peer], repeats: int, clock: Callable[[], float]) -> list[dict]:
    """Time the peers in turns, in seconds per frame."""
    random = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in peers}
    for repeat in range(repeats + 2):
        frame = random.integers(0, 256, (240, 320, 3), np.uint8)
        for name, peer in peers.items():
            peer(frame)  # brings its weights back into the caches
            start = clock()
            peer(frame)
            seconds = clock() - start
            if repeat > 1:  # the first ones warm up
                times[name].append(seconds)
        print(f'\r{repeat}/{repeats + 1}', end='', file=sys.stderr)
    print(file=sys.stderr)
    base = statistics.median(times[ALONE])
    return [
        dict(
            peer=name,
            seconds=statistics.median(values),
            p95=float(np.percentile(values, 95)),
            ratio=statistics.median(values) / base,
            all=values,
        )
        for name, values in times.items()
    ]


def show(rows: list[dict], threads: int) -> None:
    print(f'\n{threads} thread(s)\n{"":<42}{"ms":>8}{"p95":>8}{"frames/s":>10}{"x alone":>9}')
    for row in rows:
        print(
            f'{row["peer"]:<42}{1e3 * row["seconds"]:>8.1f}'
            f'{1e3 * row["p95"]:>8.1f}{1 / row["seconds"]:>10.1f}'
            f'{row["ratio"]:>9.2f}'
        )


def long_stream(frames: int, clock: Callable[[], float]) -> dict:
    """Measure time and memory of a long stream with the model of the quickstart."""
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    rec = StreamingRecognizer(cfg)
    images = np.random.default_rng(0).integers(0, 256, (64, 96, 96, 3), np.uint8)
    size = frames // 10
    state, medians, peaks = None, [], []
    for part in range(10):
        seconds = []
        for k in range(size):
            start = clock()
            _, state = rec.step(images[k % 64][None], state)
            seconds.append(clock() - start)
        medians.append(statistics.median(seconds))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        print(f'\r{(part + 1) * size}/{frames}', end='', file=sys.stderr)
    print(file=sys.stderr)
    state_bytes = sum(t.numel() * t.element_size() for t in state.tensors.values())
    return dict(
        frames=frames,
        seconds=medians,
        peak_mib=peaks,
        state_bytes=state_bytes,
        ratio=medians[-1] / medians[0],
        grown_mib=peaks[-1] - peaks[0],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--threads', type=int, nargs='*', default=[1, 2])
    parser.add_argument('--peers', nargs='*', help='parts of peer names; default: all')
    parser.add_argument(
        '--frames', type=int, default=10000, help='length of the long stream, 0 for none'
    )
    parser.add_argument('--json', help='file for all figures')
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='CPU time instead of wall time: with --threads 1 on a shared machine',
    )
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    init_default_scope('mmaction')
    found = dict(torch=torch.__version__, cpus=os.cpu_count(), clock=clock.__name__, speed={})
    for threads in args.threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        peers = all_peers()
        peers = {
            name: peer
            for name, peer in peers.items()
            if not args.peers or name == ALONE or any(part in name for part in args.peers)
        }
        rows = measure(peers, args.repeats, clock)
        show(rows, threads)
        found['speed'][threads] = rows
    if args.frames:
        torch.set_num_threads(1)
        long = found['long'] = long_stream(args.frames, clock)
        print(
            f'\n{long["frames"]} frames, MobileNet 0.25 + ConvLSTM 24 at '
            f'64x64: median {1e3 * long["seconds"][0]:.2f} ms in the first '
            f'tenth, {1e3 * long["seconds"][-1]:.2f} ms in the last (ratio '
            f'{long["ratio"]:.3f}); peak memory grew by '
            f'{long["grown_mib"]:.1f} MiB after the first tenth; the state '
            f'holds {long["state_bytes"]} bytes'
        )
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
