"""The layer against the cat(x, h) cell and a hoisted cuDNN loop, in bf16, TF32 and fp32.

One row per shape, precision and peer: seconds, the share of the measured speed
of matrix products and of memory, bytes kept for backward, and the error against
the float32 loop. The most important rows come first; rows after the budget are
skipped.
"""

import json
import sys
import time

import torch
from common import arguments, name_of, seconds, set_precision, write
from peers import CASES, SMALL_CASES, build, kernels_of

TOLERANCE = dict(bf16=3e-2, tf32=5e-3, fp32=1e-4)
ITEM = dict(bf16=2, tf32=4, fp32=4)
TARGETS = [  # shape, precisions, peer, times as fast
    (0, ('bf16',), 'cat cell', 5),
    (0, ('bf16',), 'hoisted cuDNN', 2),
    (1, ('bf16',), 'cat cell', 2),
    (0, TOLERANCE, 'hoisted cuDNN', 1),
    (1, TOLERANCE, 'hoisted cuDNN', 1),
    (2, TOLERANCE, 'hoisted cuDNN', 1),
]


def time_of(run, leaves, mode, precision, device):
    """Seconds of a forward pass without gradients, or of one with them and backward."""

    def forward():
        with torch.autocast(device, torch.bfloat16, enabled=precision == 'bf16'):
            return run()

    def inference():
        with torch.inference_mode():
            forward()

    def train():
        output = forward()
        torch.autograd.grad(output, leaves, torch.ones_like(output))

    return seconds(inference if mode == 'forward' else train, device)


def kept_of(run, leaves, precision, device):
    """Bytes saved for backward, without the leaves and the output."""
    sizes = {}

    def pack(t):
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        with torch.autocast(device, torch.bfloat16, enabled=precision == 'bf16'):
            output = run()
    for t in (*leaves, output):
        sizes.pop(t.untyped_storage().data_ptr(), None)
    return sum(sizes.values())


def rows_of(case, precision, speeds, args, spent):
    """Yield all rows of a shape in a precision; those after the budget are marked as skipped."""
    torch.compiler.reset()
    set_precision('fp32')
    _, leaves, peers = build(case, args.device, args.rehearse)
    with torch.inference_mode():
        want = peers['hoisted cuDNN']()
    set_precision(precision)
    for name, run in peers.items():
        row = dict(case=str(case), precision=precision, peer=name)
        if spent():
            row['skipped'] = 'no time left'
        else:
            try:
                with kernels_of(name):
                    measure(row, run, want, leaves, case, speeds, args.device)
            except Exception as error:
                row['failed'] = f'{type(error).__name__}: {error}'[:500]
        yield row


def measure(row, run, want, leaves, case, speeds, device):
    """Fill in a row."""
    precision = row['precision']
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, precision == 'bf16'):
        row['error'] = error = ((run() - want).norm() / want.norm()).item()
    if not error <= TOLERANCE[precision]:
        raise ValueError(f'expected an error below {TOLERANCE[precision]}, got {error}')
    row['kept_bytes'] = kept_of(run, leaves, precision, device)
    for mode, times in (('forward', 1), ('train', 3)):
        row[mode] = taken = time_of(run, leaves, mode, precision, device)
        row[f'{mode}_share_of_products'] = times * case.operations / taken / speeds[precision]
        least = times * case.least_bytes(ITEM[precision])
        row[f'{mode}_share_of_memory'] = least / taken / speeds['memory']


def judge(rows, cases):
    """Compare our layer with the targets: the wanted and the measured speed-up."""
    found = {(r['case'], r['precision'], r['peer']): r for r in rows}
    for case, precisions, peer, wanted in TARGETS:
        for precision in precisions:
            for mode in ('forward', 'train'):
                ours, theirs = (
                    found.get((str(cases[case]), precision, p), {}).get(mode)
                    for p in ('ours', peer)
                )
                got = theirs / ours if ours and theirs else None
                yield dict(
                    case=str(cases[case]),
                    precision=precision,
                    mode=mode,
                    peer=peer,
                    wanted=wanted,
                    got=got,
                    ok=got is not None and got >= wanted,
                )


def main() -> int:
    args = arguments(__doc__, budget=dict(type=float, default=150, help='seconds'))
    cases = SMALL_CASES if args.rehearse else CASES
    start, rows = time.perf_counter(), []
    machine = args.json.with_name('machine.json')
    speeds = dict.fromkeys([*ITEM, 'memory'], float('nan'))
    if machine.exists():
        measured = json.loads(machine.read_text())
        speeds = dict(measured['products'], memory=measured['bytes_per_second'])
    for precision in TOLERANCE:
        for case in cases:
            for row in rows_of(
                case, precision, speeds, args, lambda: time.perf_counter() - start > args.budget
            ):
                rows.append(row)
                result = dict(device=name_of(args.device), rows=rows)
                if not args.rehearse:
                    result['targets'] = list(judge(rows, cases))
                write(args.json, result)
                shown = (
                    row.get('skipped')
                    or row.get('failed')
                    or (
                        f'{row["forward"] * 1e3:9.3f} ms forward{row["train"] * 1e3:9.3f} ms training'
                    )
                )
                print(f'{row["case"]:<28}{precision:<6}{row["peer"]:<20}{shown}')
    return any('failed' in row for row in rows)


if __name__ == '__main__':
    sys.exit(main())
