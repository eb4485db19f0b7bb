"""Speed of the convolution algorithms that cnnlstm_mm/layers/dispatch.py chooses between.

All algorithms of an operation, PyTorch's included, take turns at each shape that a row of the table
names. Medians are in milliseconds; brackets mark the choice of the table. Then
the parts of a step of the loop, with the pixels last in memory, as the loop has them, and with the
channels last; and the layer with x convolved for all steps at once or step by step.

    python benchmarks/conv_lstm_algorithms.py --threads 1 --cpu-time
"""

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from cnnlstm_mm.layers import ConvLSTM, convolution, dispatch, pointwise, recurrence
from cnnlstm_mm.layers.geometry import geometry

CASES = {  # frames, in, out, (height, width), taps
    'input, 7x7': (64, 1024, 1024, (7, 7), (3, 3)),
    'input, 3x5 taps': (64, 512, 1024, (7, 7), (3, 5)),
    'single step': (2, 1024, 1024, (7, 7), (3, 3)),
    'step': (2, 256, 1024, (7, 7), (3, 3)),
}

STEPS = [(2, 256, 7), (8, 32, 9), (2, 64, 56)]  # samples, hidden channels, size of frames
LAYERS = [  # samples, frames, in, size of frames, hidden
    (8, 1, 16, 9, 32),
    (8, 6, 16, 9, 32),
    (8, 8, 24, 16, 24),
    (8, 8, 64, 16, 64),
    (2, 16, 64, 14, 64),
    (2, 8, 256, 7, 256),
    (2, 8, 64, 56, 64),
]


def call(operation: str, case: str):
    """Return a function that computes ``operation`` at the shapes of ``case``."""
    frames, inputs, out, size, kernel = CASES[case]
    x, dz = torch.randn(frames, inputs, *size), torch.randn(frames, out, *size)
    weight, bias, g = torch.randn(out, inputs, *kernel), torch.randn(out), geometry(size, kernel)
    if operation.endswith('step'):
        transposed = operation.startswith('transposed')
        conv = convolution.step_conv(weight, frames, size, transposed=transposed, calls=32)
        return lambda: conv(dz if transposed else x)
    arguments = {
        'forward': (x, weight, bias, g),
        'data_gradient': (dz, x, weight, g),
        'weight_gradient': (x, dz, weight, g),
    }
    return lambda: getattr(convolution, operation)(*arguments[operation])


def step_parts(samples: int, hidden: int, size: int, order: torch.memory_format) -> dict:
    """Functions of the parts of a step, on tensors in this order."""
    weight = torch.randn(4 * hidden, hidden, 3, 3)
    convolve = convolution.step_conv(weight, samples, (size, size), calls=32)
    gates, h, c, dh, dc = (
        torch.rand(samples, n * hidden, size, size).contiguous(memory_format=order)
        for n in (4, 1, 1, 1, 1)
    )
    z = torch.empty_like(gates)
    return {
        'convolution': lambda: convolve(h),
        'update': lambda: pointwise.update_(z.copy_(gates), c, None, 0.0),
        'gradient': lambda: pointwise.update_backward_(
            gates, c, c, dh.clone(), dc.clone(), None, 0.0
        ),
    }


def compare_orders(repeats: int, now) -> None:
    """Print the parts of a step in both orders."""
    for case in STEPS:
        orders = dict(pixels=torch.contiguous_format, channels=torch.channels_last)
        parts = {name: step_parts(*case, order) for name, order in orders.items()}
        for part in parts['pixels']:
            turns = {name: functions[part] for name, functions in parts.items()}
            samples, hidden, size = case
            shown = take_turns(turns, repeats, now)
            print(f'{part:<16}{f"{samples}x{hidden}x{size}x{size}":<17}', shown, flush=True)


def take_turns(functions: dict, repeats: int, now) -> str:
    """Medians of the functions in milliseconds, as text."""
    times = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = now()
            function()
            times[name].append(now() - start)
    return ', '.join(f'{n} {statistics.median(t[1:]) * 1e3:.3f}' for n, t in times.items())


def layer_runs(samples: int, frames: int, inputs: int, size: int, hidden: int) -> tuple:
    """Forward and training of a layer from a state, as functions of whether it goes by step."""
    layer = ConvLSTM(inputs, hidden)
    x = torch.randn(samples, frames, inputs, size, size, requires_grad=True)
    state = (torch.randn(1, samples, hidden, size, size),) * 2

    def force(by_step: bool) -> None:
        recurrence._is_stepwise = lambda *_: by_step

    def forward(by_step: bool) -> None:
        force(by_step)
        with torch.inference_mode():
            layer(x, state)

    def train(by_step: bool) -> None:
        force(by_step)
        output = layer(x, state)[0]
        torch.autograd.grad(output, [x, *layer.parameters()], torch.ones_like(output))

    return forward, train


def compare_ways(repeats: int, now) -> None:
    """Print the layer with x convolved at once and step by step."""
    choice = recurrence._is_stepwise
    for case in LAYERS:
        shape = 'x'.join(map(str, case[:4]))
        for run in layer_runs(*case):
            ways = {'at once': partial(run, False), 'by step': partial(run, True)}
            print(f'{run.__name__:<16}{shape:<17}', take_turns(ways, repeats, now), flush=True)
    recurrence._is_stepwise = choice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--cpu-time', action='store_true', help='CPU time instead of wall time')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    now = time.process_time if args.cpu_time else time.perf_counter
    choose = dispatch.choose
    for operation, case in dict.fromkeys((row.operation, row.benchmark) for row in dispatch.TABLE):
        if case not in CASES:
            continue
        kernel = CASES[case][4]
        rows = {row.algorithm for row in dispatch.TABLE if row.operation == operation}
        names = sorted({'torch', *rows} - ({'winograd'} if kernel != (3, 3) else set()))
        chosen, times = [], {name: [] for name in names}

        def watch(*problem):
            chosen.append(choose(*problem))
            return chosen[-1]

        def force(name):
            convolution.choose = lambda op, _: name if op == operation else 'torch'

        with torch.inference_mode():
            convolution.choose = watch
            call(operation, case)()
            functions = {}
            for name in names:
                force(name)
                functions[name] = call(operation, case)
            for repeat in range(args.repeats + 1):
                for name, function in functions.items():
                    force(name)
                    start = now()
                    function()
                    if repeat:
                        times[name].append(now() - start)
        shown = (
            f'{f"[{n}]" if n == chosen[0] else n} {statistics.median(t) * 1e3:.2f}'
            for n, t in times.items()
        )
        print(f'{operation:<16}{case:<17}', ', '.join(shown), flush=True)
    convolution.choose = choose
    print('last in memory:')
    with torch.inference_mode():
        compare_orders(5 * args.repeats, now)
    print('x convolved:')
    compare_ways(args.repeats, now)


if __name__ == '__main__':
    main()
