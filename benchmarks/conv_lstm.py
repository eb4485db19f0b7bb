"""Speed of ConvLSTM layers, side by side in one run.

Ours, autograd over the plain loop, a cat(x, h) cell, Keras on torch and on
JAX, and the machine's matrix product take turns at every repeat, with the
same shapes, weights and threads; the medians are printed.

    python benchmarks/conv_lstm.py --json speed.json --plot speed.png
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
import conv_lstm_peers as peers
from worker import Worker

CASES = [
    peers.Case('seed, valid', 2, 32, 1024, 256, 7, 'valid'),
    peers.Case('seed, same', 2, 32, 1024, 256, 7, 'same'),
    peers.Case('MobileNetV2', 2, 32, 1280, 256, 7, 'same'),
    peers.Case('reduced', 2, 32, 256, 256, 7, 'same'),
    peers.Case('large frame', 2, 8, 64, 64, 56, 'same'),
    peers.Case('single step', 2, 1, 1024, 256, 7, 'same'),
    peers.Case('small step', 8, 1, 16, 32, 9, 'same', state=True),
]
KERAS = {'Keras, torch': 'torch', 'Keras, JAX': 'jax'}
LIGHT = ('depthwise', 'pooled')
MINIMAL = 'MinConvLSTM'  # another recurrence: its output is not compared
PATIENCE = 5  # seconds; slower peers are timed once


def arrays_of(case: peers.Case) -> dict:
    """x and weights, scaled so that the gates do not saturate."""
    random = np.random.default_rng(0)

    def normal(*shape, scale=1.0):
        return random.standard_normal(shape, dtype=np.float32) * scale

    gates, taps = 4 * case.hidden, 9
    return {
        'x': normal(case.batch, case.frames, case.inputs, case.size, case.size),
        'weight_ih_l0': normal(gates, case.inputs, 3, 3, scale=(case.inputs * taps) ** -0.5),
        'weight_hh_l0': normal(gates, case.hidden, 3, 3, scale=(case.hidden * taps) ** -0.5),
        'bias_l0': normal(gates, scale=0.1),
    }


def build(case: peers.Case, workers: dict, names: list) -> dict:
    """Build the peers that support this case, each checked against ours."""
    arrays = arrays_of(case)
    found = {
        'matrix product': peers.Matmul(case, arrays),
        'ours': peers.TorchPeer(case, arrays),
        'plain loop': peers.PlainLoop(case, arrays),
    }
    if peers.has_bfloat16():
        found['ours, bf16'] = peers.Bfloat16(case, arrays)
    if case.padding == 'same':
        found['cat(x, h) cell'] = peers.CatCell(case, arrays)
    if case.name == 'MobileNetV2':
        for gate_conv in LIGHT:
            found[f'ours, {gate_conv}'] = peers.TorchPeer(case, arrays, gate_conv=gate_conv)
    if case.padding == 'same':
        found[MINIMAL] = peers.Minimal(case, arrays)
    for name, worker in workers.items():
        worker.ask('build', case, arrays)
        found[name] = worker
    found = {k: v for k, v in found.items() if not names or k in names}
    want = peers.TorchPeer(case, arrays).output()
    for name, peer in found.items():
        if name in ('matrix product', MINIMAL) or name.split(', ')[-1] in LIGHT:
            continue
        got = peer.ask('output') if isinstance(peer, Worker) else peer.output()
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        if error > (2e-2 if 'bf16' in name else 1e-5):
            raise SystemExit(
                f'{name}: expected the output of our layer, got a relative error of {error:.1e}'
            )
    return found


def measure(case: peers.Case, found: dict, repeats: int, clock: str) -> list:
    """Time all peers; return one row per peer and mode."""
    rounds = [
        (name, mode)
        for mode in ('forward', 'train')
        for name in found
        if not (mode == 'train' and name == 'matrix product')
    ]
    times = {key: [] for key in rounds}
    for repeat in range(repeats + 1):
        for name, mode in rounds:
            if any(seconds > PATIENCE for seconds in times[name, mode]):
                continue
            peer = found[name]
            seconds = (
                peer.ask('time', mode, clock)
                if isinstance(peer, Worker)
                else peer.time(mode, clock)
            )
            # The first repeat warms up, except for peers that are timed once.
            if repeat or seconds > PATIENCE:
                times[name, mode].append(seconds)
        print(f'\r{case.name}: {repeat}/{repeats}', end='', file=sys.stderr)
    print(file=sys.stderr)
    speed = peers.Matmul.operations / statistics.median(times['matrix product', 'forward'])
    rows = []
    for (name, mode), values in times.items():
        if name == 'matrix product':
            continue
        peer, seconds = found[name], statistics.median(values)
        row = dict(
            case=case.name,
            peer=name,
            mode=mode,
            seconds=seconds,
            all=values,
            matmul_gflops=speed / 1e9,
            share=None,
            kept_bytes=None,
        )
        if not any(other in name for other in (*LIGHT, MINIMAL)):
            operations = case.operations * (3 if mode == 'train' else 1)
            row['share'] = operations / seconds / speed
        if mode == 'train':
            row['kept_bytes'] = peer.ask('kept') if isinstance(peer, Worker) else peer.kept()
        rows.append(row)
    return rows


def show(rows: list) -> None:
    print(
        f'{"case":<14}{"mode":<9}{"peer":<17}{"ms":>9}{"x ours":>8}{"of matmul":>11}{"MB kept":>9}'
    )
    ours = {(r['case'], r['mode']): r['seconds'] for r in rows if r['peer'] == 'ours'}
    for r in sorted(rows, key=lambda r: (r['case'], r['mode'])):
        share = '' if r['share'] is None else f'{r["share"]:.2f}'
        kept = '' if r['kept_bytes'] is None else f'{r["kept_bytes"] / 1e6:.1f}'
        ratio = r['seconds'] / ours[r['case'], r['mode']]
        print(
            f'{r["case"]:<14}{r["mode"]:<9}{r["peer"]:<17}'
            f'{r["seconds"] * 1e3:>9.1f}{ratio:>8.2f}{share:>11}{kept:>9}'
        )


def plot(rows: list, path: str) -> None:
    """Draw one bar per peer, grouped by case; forward above, training below."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    cases = list(dict.fromkeys(r['case'] for r in rows))
    names = list(dict.fromkeys(r['peer'] for r in rows))
    figure, axes = plt.subplots(2, 1, figsize=(10, 7), layout='constrained')
    for axis, mode in zip(axes, ('forward', 'train')):
        for k, name in enumerate(names):
            bars = [
                (cases.index(r['case']) + (k + 0.5) / (len(names) + 1), r['seconds'])
                for r in rows
                if r['peer'] == name and r['mode'] == mode
            ]
            if bars:
                axis.bar(*zip(*bars), width=1 / (len(names) + 1), label=name)
        axis.set(
            title=mode,
            ylabel='seconds',
            yscale='log',
            xticks=[c + 0.45 for c in range(len(cases))],
            xticklabels=cases,
        )
    axes[0].legend(ncols=4, fontsize='small')
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--cases', nargs='*', help='parts of case names; default: all')
    parser.add_argument('--peers', nargs='*', help='names; default: all')
    parser.add_argument('--no-keras', action='store_true')
    parser.add_argument('--json', help='file for all figures')
    parser.add_argument('--plot', help='file for a bar chart')
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='CPU time instead of wall time: with --threads 1 on a shared machine',
    )
    args = parser.parse_args()
    clock = 'process_time' if args.cpu_time else 'perf_counter'
    import torch

    torch.set_num_threads(args.threads)
    names = args.peers and ['matrix product', 'ours', *args.peers]
    workers = (
        {}
        if args.no_keras
        else {
            name: Worker(peers.KerasPeer, peers.environment(backend, args.threads))
            for name, backend in KERAS.items()
            if not names or name in names
        }
    )
    if not peers.has_bfloat16():
        print('no bf16 row: this CPU lacks bf16 instructions', file=sys.stderr)
    rows = []
    for case in CASES:
        if not args.cases or any(c in case.name for c in args.cases):
            found = build(case, workers, names)
            rows += measure(case, found, args.repeats, clock)
    for worker in workers.values():
        worker.close()
    show(rows)
    if args.json:
        Path(args.json).write_text(
            json.dumps(
                dict(
                    threads=args.threads,
                    clock=clock,
                    torch=torch.__version__,
                    repeats=args.repeats,
                    rows=rows,
                ),
                indent=1,
            )
        )
    if args.plot:
        plot(rows, args.plot)


if __name__ == '__main__':
    main()
