"""Next frames of moving digits: an encoder-forecaster of two ConvLSTMs, beside two baselines.

    python examples/moving_mnist.py
    python examples/moving_mnist.py --digits t10k-images-idx3-ubyte.gz

Two digits move through a frame and bounce off its borders, one pixel value being the larger of
both, as in Moving MNIST (Srivastava et al., ICML 2015). The digits are drawn by this script, or the
test digits of MNIST, if you have their file; every clip is made anew, so that none is seen twice.
The encoder reads the first frames, its states start the forecaster, which makes one frame after
another (Shi et al., NIPS 2015). Training, validation and picture take minutes on a CPU.

It prints the mean squared and absolute error of a pixel for the forecaster and for copying the last
frame that was seen, and, at equal weights, loss and time of a training step for our layer and for
the cell that most PyTorch projects have, one convolution of cat(x, h) a step.

On two cores of an AMD EPYC, PyTorch 2.13, OMP_NUM_THREADS=2, the default settings::

    800 steps of 8 clips in 532 s on 2 threads, loss 0.2921 at the end
                 MSE     MAE, of 64 other clips
    forecaster   0.07538 0.17342
    last frame   0.12074 0.14338
    black        0.10137 0.11407
                 loss     a training step of 8 clips
    ours         0.291533   0.775 s
    common cell  0.291533   0.718 s
    the common cell takes 0.93 times as long

The machine was shared with other jobs (2 minutes 27 seconds of processor time in 9 minutes 37), so
that times are rough. So few steps forecast where the digits will be, as blurred patches, and not
their strokes: the squared error rewards that, the absolute one does not. Our layer gains nothing
here: its forecaster is called for one step at a time on maps of 9 x 9, where it computes what the
common cell computes, one convolution of cat(x, h), and each call costs more. On one thread, in
processor time, two layers took 12.6 ms to train on one step and 52 ms on six, the common cell 6.3
and 43 ms.
"""

import argparse
import gzip
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.layers import ConvLSTM

GLYPH = 20  # pixels of a drawn digit
IDX_MAGIC = 2051  # of a file of images of MNIST
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


def drawn_digits() -> np.ndarray:
    """Each digit in three fonts and two weights, [60, 20, 20] from 0 to 1."""
    digits = []
    for digit in '0123456789':
        for font in FONTS:
            for thickness in (1, 2):
                canvas = np.zeros((GLYPH, GLYPH), np.uint8)
                (width, height), _ = cv2.getTextSize(digit, font, 0.65, thickness)
                corner = (GLYPH - width) // 2, (GLYPH + height) // 2
                cv2.putText(canvas, digit, corner, font, 0.65, 255, thickness, cv2.LINE_AA)
                digits.append(canvas)
    return np.stack(digits).astype(np.float32) / 255


def read_digits(path: Path) -> np.ndarray:
    """Images of an MNIST file, packed or not, as ``drawn_digits``.

    Raises:
        ValueError: if it is another file.
    """
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data
    magic, count, height, width = np.frombuffer(data[:16], '>i4') if len(data) >= 16 else [0] * 4
    if magic != IDX_MAGIC or len(data) != 16 + count * height * width:
        raise ValueError(
            f'--digits: expected images of MNIST, got {path}; fix: '
            't10k-images-idx3-ubyte or its .gz'
        )
    images = np.frombuffer(data, np.uint8, offset=16).reshape(count, height, width)
    small = [cv2.resize(image, (GLYPH, GLYPH), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).astype(np.float32) / 255


def make_clips(
    digits: np.ndarray, count: int, frames: int, size: int, rng: np.random.Generator
) -> Tensor:
    """Clips [count, frames, 1, size, size] of two digits each, 1 to 3 pixels a frame."""
    clips = np.zeros((count, frames, 1, size, size), np.float32)
    room = size - GLYPH
    for clip in clips:
        for digit in digits[rng.integers(len(digits), size=2)]:
            place, step = rng.uniform(0, room, 2), rng.uniform(1, 3, 2) * rng.choice([-1, 1], 2)
            for t in range(frames):
                # A path that bounces is one that goes on and on, folded.
                y, x = np.abs((place + t * step + room) % (2 * room) - room).round().astype(int)
                patch = clip[t, 0, y : y + GLYPH, x : x + GLYPH]
                np.maximum(patch, digit, out=patch)
    return torch.from_numpy(clips)


class CommonConvLSTM(nn.Module):
    """The common cell in a loop, for layers that compute the same as a ConvLSTM.

    Args:
        layer: whose weights it shares; one size of the hidden state, 'same'.
    """

    def __init__(self, layer: ConvLSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As ConvLSTM's."""
        p = self.layer
        if state is None:
            state = (x.new_zeros(p.num_layers, len(x), p.hidden_channels, *x.shape[3:]),) * 2
        (h, c), sequence = ([*s] for s in state), []
        for t in range(x.shape[1]):
            below = x[:, t]
            for k in range(p.num_layers):
                ih, hh, bias = (
                    getattr(p, f'{name}_l{k}') for name in ('weight_ih', 'weight_hh', 'bias')
                )
                both = torch.cat([below, h[k]], 1), torch.cat([ih, hh], 1)
                i, f, g, o = F.conv2d(*both, bias, padding='same').chunk(4, 1)
                c[k] = f.sigmoid() * c[k] + i.sigmoid() * g.tanh()
                h[k] = below = o.sigmoid() * c[k].tanh()
            sequence.append(below)
        return torch.stack(sequence, 1), (torch.stack(h), torch.stack(c))


class Forecaster(nn.Module):
    """Encoder and forecaster on frames folded to a quarter of their side.

    Args:
        hidden: channels of each of the two ConvLSTMs.
        layers: of each.
        common: computes with :class:`CommonConvLSTM` instead.
    """

    FOLD = 4

    def __init__(self, hidden: int, layers: int, common: bool = False) -> None:
        super().__init__()
        channels = self.FOLD**2
        self.encoder = ConvLSTM(channels, hidden, 3, num_layers=layers)
        self.forecaster = ConvLSTM(channels, hidden, 3, num_layers=layers)
        self.to_frame = nn.Conv2d(hidden, channels, 1)
        self.wrap = CommonConvLSTM if common else lambda layer: layer

    def forward(self, seen: Tensor, steps: int) -> Tensor:
        """Logits of the following frames [N, steps, 1, H, W] after ``seen`` [N, T, 1, H, W]."""
        folded = F.pixel_unshuffle(seen, self.FOLD)  # [N, T, 16, H / 4, W / 4]
        _, state = self.wrap(self.encoder)(folded)
        frame, frames = folded[:, -1:], []
        for _ in range(steps):
            hidden, state = self.wrap(self.forecaster)(frame, state)
            logits = self.to_frame(hidden[:, 0])[:, None]
            frames.append(logits)
            frame = logits.sigmoid()
        return F.pixel_shuffle(torch.cat(frames, 1), self.FOLD)


def errors(frames: Tensor, truth: Tensor) -> str:
    """Mean squared and absolute error of a pixel."""
    return f'{(frames - truth).square().mean():.5f} {(frames - truth).abs().mean():.5f}'


def train(model: Forecaster, args: argparse.Namespace, digits: np.ndarray) -> float:
    """Train on clips that are made as they are needed; the last steps' mean loss."""
    rng = np.random.default_rng(args.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, args.steps)
    losses = []
    for _ in track(range(args.steps), 'training', transient=True):
        clips = make_clips(digits, args.batch_size, 2 * args.frames, args.size, rng)
        seen, truth = clips.split(args.frames, 1)
        loss = F.binary_cross_entropy_with_logits(model(seen, args.frames), truth)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return statistics.fmean(losses[-20:])


def compare_cells(model: Forecaster, clips: Tensor, args: argparse.Namespace) -> str:
    """Loss and time of a training step, ours and the common cell, in turns, at equal weights."""
    common = Forecaster(args.hidden, args.layers, common=True)
    common.load_state_dict(model.state_dict())
    seen, truth = clips[: args.batch_size].split(args.frames, 1)
    names = {'ours': model, 'common cell': common}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    losses = {}
    for _ in range(args.repeats + 1):  # the first time prepares
        for name, one in names.items():
            start = time.perf_counter()
            loss = F.binary_cross_entropy_with_logits(one(seen, args.frames), truth)
            loss.backward()
            seconds[name].append(time.perf_counter() - start)
            losses[name] = loss.item()
            one.zero_grad()
    lines = [
        f'{name:12} {losses[name]:.6f} {statistics.median(times[1:]):7.3f} s'
        for name, times in seconds.items()
    ]
    ours, other = (statistics.median(times[1:]) for times in seconds.values())
    title = f'{"":12} loss     a training step of {args.batch_size} clips'
    return '\n'.join([title, *lines, f'the common cell takes {other / ours:.2f} times as long'])


def draw(path: Path, seen: Tensor, truth: Tensor, made: Tensor) -> None:
    """Write a picture: what was seen, what followed, what was forecast."""
    blank = torch.zeros_like(seen)
    rows = [torch.cat([seen, truth], 1), torch.cat([blank, made], 1)]
    grid = [torch.cat([*row[k, :, 0]], 1) for k in range(len(seen)) for row in rows]
    image = (torch.cat(grid) * 255).round().byte().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise ValueError(f'--out: expected the name of a picture, got {path}; fix: a .png')


def argument_parser() -> argparse.ArgumentParser:
    """Data, model and training."""
    parser = argparse.ArgumentParser(description='Forecast the next frames of moving digits')
    parser.add_argument('--digits', type=Path, help='t10k-images-idx3-ubyte(.gz) of MNIST')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/moving_mnist.png'))
    parser.add_argument('--frames', type=int, default=6, help='that are seen, and forecast')
    parser.add_argument('--size', type=int, default=36, help='of a frame, a multiple of 4')
    parser.add_argument('--hidden', type=int, default=32, help='channels of each ConvLSTM')
    parser.add_argument('--layers', type=int, default=2, help='of encoder and forecaster each')
    parser.add_argument('--steps', type=int, default=800, help='of training')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--lr', type=float, default=3e-3, help='largest learning rate')
    parser.add_argument('--clips', type=int, default=64, help='of validation')
    parser.add_argument('--repeats', type=int, default=5, help='of the timed training step')
    parser.add_argument('--seed', type=int, default=0)
    return parser


def run(args: argparse.Namespace) -> None:
    """Train, compare and draw."""
    if args.size % Forecaster.FOLD or args.size <= GLYPH:
        raise ValueError(
            f'--size: expected a multiple of {Forecaster.FOLD} above {GLYPH}, got {args.size}'
        )
    torch.manual_seed(args.seed)
    digits = read_digits(args.digits) if args.digits else drawn_digits()
    model = Forecaster(args.hidden, args.layers)
    start = time.perf_counter()
    loss = train(model, args, digits)
    print(
        f'{args.steps} steps of {args.batch_size} clips in {time.perf_counter() - start:.0f} s on '
        f'{torch.get_num_threads()} threads, loss {loss:.4f} at the end'
    )
    rng = np.random.default_rng(args.seed + 1)
    clips = make_clips(digits, args.clips, 2 * args.frames, args.size, rng)
    seen, truth = clips.split(args.frames, 1)
    with torch.no_grad():
        made = torch.cat([model(part, args.frames) for part in seen.split(args.batch_size)])
    made = made.sigmoid()
    print(f'{"":12} MSE     MAE, of {args.clips} other clips')
    print(f'{"forecaster":12} {errors(made, truth)}')
    print(f'{"last frame":12} {errors(seen[:, -1:].expand_as(truth), truth)}')
    print(f'{"black":12} {errors(torch.zeros_like(truth), truth)}')
    print(compare_cells(model, clips, args))
    draw(args.out, seen[:3], truth[:3], made[:3])
    print(f'3 clips -> {args.out}')


def main(argv: list[str] | None = None) -> int:
    """Run as a command."""
    return run_command(run, argument_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
