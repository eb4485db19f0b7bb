"""Speed of OpenSTL's ConvLSTM cell and of our layer with its weights, in turns in one run.

    python benchmarks/openstl_cell.py --batch 4 --frames 10

The cell is written here from its published formulas (github.com/chengtan9907/OpenSTL,
openstl/modules/convlstm_modules.py): a convolution of x and one of h without biases at every step,
gates i, f, g, o. The default sizes are those of its Moving MNIST config, four layers of 128
channels with kernels of 5 on 16 x 16 patches of 4 x 4 pixels.
"""

import argparse
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.layers import load_convlstm


class Cell(nn.Module):
    """OpenSTL's ConvLSTMCell without LayerNorm."""

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        options = dict(padding=kernel // 2, bias=False)
        self.conv_x = nn.Sequential(nn.Conv2d(inputs, 4 * hidden, kernel, **options))
        self.conv_h = nn.Sequential(nn.Conv2d(hidden, 4 * hidden, kernel, **options))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """h and c after a step."""
        i, f, g, o = (self.conv_x(x) + self.conv_h(h)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Stack(nn.Module):
    """Cells on each other, all at every step."""

    def __init__(self, inputs: int, hidden: int, layers: int, kernel: int) -> None:
        super().__init__()
        sizes = pairwise([inputs] + [hidden] * layers)
        self.cell_list = nn.ModuleList(Cell(a, b, kernel) for a, b in sizes)
        self.hidden = hidden

    def forward(self, x: Tensor) -> Tensor:
        """The last cell's h at every step."""
        states = [(x.new_zeros(len(x), self.hidden, *x.shape[3:]),) * 2 for _ in self.cell_list]
        output = []
        for below in x.unbind(1):
            for k, cell in enumerate(self.cell_list):
                states[k] = cell(below, *states[k])
                below = states[k][0]
            output.append(below)
        return torch.stack(output, 1)


def argument_parser() -> argparse.ArgumentParser:
    """Sizes and repeats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in dict(
        batch=4, frames=10, inputs=16, hidden=128, layers=4, kernel=5, size=16, repeats=3
    ).items():
        parser.add_argument(f'--{name}', type=int, default=value)
    return parser


def run(args: argparse.Namespace) -> None:
    """Compare outputs, then time forward and a training step."""
    torch.manual_seed(0)
    theirs = Stack(args.inputs, args.hidden, args.layers, args.kernel)
    ours = load_convlstm(theirs.state_dict())
    x = torch.rand(args.batch, args.frames, args.inputs, args.size, args.size)

    def forward(run) -> None:
        with torch.inference_mode():
            run(x)

    def train(run) -> None:
        run(x).square().mean().backward()

    with torch.inference_mode():
        want, got = theirs(x), ours(x)[0]
    print(f'largest difference {(got - want).abs().max() / want.abs().max():.1e} of the largest h')
    for name, step in (('forward', forward), ('training step', train)):
        seconds: dict[str, list[float]] = dict(theirs=[], ours=[])
        for _ in range(args.repeats + 1):  # the first time prepares
            for who, call in (('theirs', theirs), ('ours', lambda x: ours(x)[0])):
                start = time.perf_counter()
                step(call)
                seconds[who].append(time.perf_counter() - start)
        a, b = (statistics.median(times[1:]) for times in seconds.values())
        print(f'{name:14} theirs {a:7.3f} s   ours {b:7.3f} s   ratio {a / b:.2f}')


def main(argv: list[str] | None = None) -> int:
    """Run as a command."""
    return run_command(run, argument_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
