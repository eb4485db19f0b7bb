"""Feed hostile and broken input to the package and count the outcomes.

    python benchmarks/fuzz.py --count 3000 --seed 0

Needs the tests' requirements (pip install -e .[test]) and ffmpeg, which
moviepy brings. Each input is checked in a child process that may hang or
crash. The exit code is 1 after a fault: an error that the package did not
raise itself, a result that is not finite, a crash or a hang.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests'))
from helpers.fuzzing.campaign import FAULTS, KINDS, run
from helpers.fuzzing.child import Child

SHARES = dict(
    configs=0.15,
    videos=0.2,
    lists=0.1,
    checkpoints=0.08,
    states=0.07,
    containers=0.15,
    archives=0.15,
    tables=0.1,
)


def main() -> None:
    """Run the campaign; print a table and the faults."""
    parser = argparse.ArgumentParser(description='Fuzz the package')
    parser.add_argument(
        '--count', type=int, default=3000, help='number of inputs, all classes together'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', nargs='+', choices=KINDS, default=KINDS, help='classes of input')
    parser.add_argument('--json', type=Path, help='file for all results')
    args = parser.parse_args()
    part = sum(SHARES[kind] for kind in args.only)
    counts = {kind: round(args.count * SHARES[kind] / part) for kind in args.only}
    rows, all_faults, start = [], [], time.time()
    with (
        Child() as child,
        Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        ) as progress,
    ):
        for kind, count in counts.items():
            task = progress.add_task(kind, total=count)
            verdicts, faults = run(child, kind, count, args.seed, lambda: progress.advance(task))
            all_faults += [(kind, *fault) for fault in faults]
            rows.append(
                (
                    kind,
                    sum(verdicts.values()),
                    verdicts['refused'],
                    verdicts['accepted'],
                    *(verdicts[name] for name in FAULTS),
                )
            )
    rows.append(('all', *(sum(column) for column in list(zip(*rows))[1:])))
    print(
        '| class | inputs | refused | accepted | faults | crashes | hangs |'
        '\n| --- | --- | --- | --- | --- | --- | --- |'
    )
    for row in rows:
        print(f'| {" | ".join(map(str, row))} |')
    print(f'seed {args.seed}, {time.time() - start:.0f} s')
    for kind, verdict, reason, case in all_faults[:20]:
        print(f'\n{kind}: {verdict}: {reason[-500:]}\n  {case!r:.500}')
    if args.json:
        args.json.write_text(
            json.dumps(
                dict(
                    seed=args.seed,
                    rows=rows,
                    faults=[list(map(repr, fault)) for fault in all_faults],
                )
            )
        )
    sys.exit(bool(all_faults))


if __name__ == '__main__':
    main()
