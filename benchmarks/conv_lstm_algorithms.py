"""Speed of the convolution algorithms that cnnlstm_mm/layers/dispatch.py chooses between.

All algorithms of an operation, PyTorch's included, take turns at each shape that a row of the table
names. Medians are in milliseconds; brackets mark the choice of the table.

    python benchmarks/conv_lstm_algorithms.py --threads 1 --cpu-time
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from cnnlstm_mm.layers import convolution, dispatch
from cnnlstm_mm.layers.geometry import geometry

CASES = {  # frames, in, out, (height, width), taps
    'input, 7x7': (64, 1024, 1024, (7, 7), (3, 3)),
    'input, 3x5 taps': (64, 512, 1024, (7, 7), (3, 5)),
    'single step': (2, 1024, 1024, (7, 7), (3, 3)),
    'step': (2, 256, 1024, (7, 7), (3, 3)),
}


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


if __name__ == '__main__':
    main()
