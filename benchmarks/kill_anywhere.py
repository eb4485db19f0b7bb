"""Kill preparations, extractions, exports and reports at random moments; start them in pairs.

Each tool first runs undisturbed. Then, in a fresh folder, it is started, killed (SIGKILL, with the
processes that it started) at a random moment, started again, and so on; after some kills it runs to
its end, and its folder must hold the bytes of the undisturbed run. At last two of each run at once
on one folder: one must end as if alone, and the other as well or with exit code 2 and the name of
the process that holds the folder. What the user's own folders hold is compared before and after
each run, byte for byte and link for link.

    python benchmarks/kill_anywhere.py --kills 100 --pairs 20 --json kills.json
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))
from helpers import tree

KILLS_A_CHAIN = 4
HEAVY = 0.4  # importing PyTorch and MMAction2


class Job(NamedTuple):
    """A command that makes or completes a folder."""

    name: str
    tool: str
    args: list[str]  # {out} stands for the folder
    imports: float = 0.05  # share of its time before it does anything


def snapshot(folder: Path) -> dict[str, Any]:
    """Everything below a folder, but times and inodes."""
    return tree.snapshot(folder, times=False)


def result(folder: Path) -> dict[str, Any]:
    """What a tool made: neither its own name counts, nor the times of the files it unpacked."""
    found: dict[str, Any] = {
        key: [str(fact).replace(str(folder), '{out}') for fact in facts]
        for key, facts in snapshot(folder).items()
    }
    for path in folder.glob('checked*.jsonl'):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name] = [{**line, 'stamp': line['stamp'][:1]} for line in lines]
    return found


def start(job: Job, out: Path) -> subprocess.Popen:
    """Start a job in a process group of its own."""
    command = [sys.executable, str(ROOT / job.tool)]
    command += [arg.replace('{out}', str(out)) for arg in job.args]
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(job: Job, out: Path) -> float:
    """Run a job to its end; its seconds."""
    began = time.perf_counter()
    process = start(job, out)
    said = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f'{job.name} failed with {process.returncode}:\n{said[-3000:]}')
    return time.perf_counter() - began


def make_jobs(root: Path, names: list[str] | None = None) -> tuple[list[Job], list[Path]]:
    """Make tiny data and a tiny trained model; the jobs on them, and the user's folders.

    Args:
        root: Folder for all of them.
        names: The jobs that are wanted; None for all. A model is trained for those that need one.
    """
    user = root / 'user'
    subprocess.run(
        [
            sys.executable,
            ROOT / 'tools/data/make_quickstart.py',
            '--out',
            user / 'quickstart',
            *'--size 32 --frames 8 --train-per-class 2 --val-per-class 1'.split(),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    clips = sorted((user / 'quickstart/videos').rglob('*.avi'))
    make_ucf(user, clips)
    make_kinetics(user, clips)
    models = names is None or set(names) & {'extract', 'export', 'report'}
    config, checkpoint, run_dir = make_training(root, user) if models else ('', '', '')
    kinetics = ['train', f'{user}/VIDEOS', f'{user}/train.csv', '--data', 'kinetics400']
    common = ['--out', '{out}', '--workers', '1']
    jobs = [
        Job(
            'quickstart',
            'tools/data/make_quickstart.py',
            [*common, *'--size 32 --frames 8 --train-per-class 6 --val-per-class 2'.split()],
        ),
        Job(
            'ucf101',
            'tools/data/prepare_ucf101.py',
            [f'{user}/UCF101.zip', f'{user}/splits', *common],
        ),
        Job('kinetics', 'tools/data/prepare_kinetics.py', [*kinetics, *common]),
        Job(
            'kinetics, resized',
            'tools/data/prepare_kinetics.py',
            [*kinetics, *common, '--short-side', '16'],
        ),
        Job(
            'extract',
            'tools/extract_features.py',
            [config, '--out', '{out}', '--shard-clips', '2', '--num-workers', '1'],
            HEAVY,
        ),
        Job(
            'export',
            'tools/export_onnx.py',
            [config, checkpoint, '--mode', 'step', '--out', '{out}/model.onnx'],
            HEAVY,
        ),
        Job(
            'report',
            'tools/report.py',
            [
                run_dir,
                '--configs',
                str(root),
                '--json',
                '{out}/results.json',
                '--html',
                '{out}/page.html',
                '--plot',
                '{out}/curves.png',
                '--markdown',
                '{out}/tables.md',
                '--metafile',
                '{out}/metafile.yml',
            ],
            HEAVY,
        ),
    ]
    jobs = [job for job in jobs if names is None or job.name in names]
    return jobs, [user, *([Path(run_dir)] if run_dir else [])]


def make_ucf(user: Path, clips: list[Path]) -> None:
    """A small UCF101 in an archive, with its lists in a folder."""
    lists = user / 'splits'
    lists.mkdir()
    names = ['Archery', 'Bowling']
    (lists / 'classInd.txt').write_text(''.join(f'{k} {n}\n' for k, n in enumerate(names, 1)))
    wanted = [(n, f'{n}/v_{n}_g{g:02d}_c01.avi') for n in names for g in range(1, 9)]
    for (_, name), clip in zip(wanted, clips):
        (user / 'UCF-101' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, user / 'UCF-101' / name)
    for split in (1, 2, 3):
        (lists / f'trainlist{split:02d}.txt').write_text(
            ''.join(f'{name} {names.index(n) + 1}\n' for n, name in wanted)
        )
        (lists / f'testlist{split:02d}.txt').write_text(''.join(f'{n[1]}\n' for n in wanted[::3]))
    shutil.make_archive(str(user / 'UCF101'), 'zip', user, 'UCF-101')
    shutil.rmtree(user / 'UCF-101')


def make_kinetics(user: Path, clips: list[Path]) -> None:
    """Links to videos elsewhere, one folder with a space, a dangling link and a loop."""
    rows = ['label,youtube_id,time_start,time_end']
    for number, clip in enumerate(clips[:12]):
        label = ('abseiling', 'air drumming')[number % 2]
        link = user / 'VIDEOS' / label / f'id{number}_000001_000011.avi'
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(clip)
        rows.append(f'{label},id{number},1,11')
    rows.append('abseiling,gone,1,11')
    (user / 'VIDEOS/abseiling/gone_000001_000011.avi').symlink_to(user / 'gone.avi')
    (user / 'VIDEOS/loop').symlink_to('..')
    (user / 'train.csv').write_text('\n'.join(rows) + '\n')


def make_training(root: Path, user: Path) -> tuple[str, str, str]:
    """A config of the clips, and one epoch of it."""
    config, work_dir = root / 'tiny.py', root / 'user_run'
    text = (ROOT / 'configs/mobilenet_convlstm_quickstart.py').read_text()
    text = text.replace("'_base_/", f"'{ROOT}/configs/_base_/")
    data = user / 'quickstart'
    for mode, part in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        text += (
            f'{mode}_dataloader = dict(num_workers=0, persistent_workers=False, batch_size=4,\n'
            f"    dataset=dict(ann_file='{data}/quickstart_{part}_split_1_videos.txt',\n"
            f"                 data_prefix=dict(video='{data}/videos')))\n"
        )
    text += f"data_root = '{data}'\ntrain_cfg = dict(max_epochs=1)\n"
    config.write_text(text)
    command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', work_dir]
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [*command, '--seed', '0', '--no-validate'],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f'the training failed:\n{(done.stdout + done.stderr)[-3000:]}')
    return str(config), str(work_dir / 'epoch_1.pth'), str(work_dir)


def kill_chain(
    job: Job, out: Path, seconds: float, kills: int, draw: random.Random
) -> list[dict[str, Any]]:
    """Kill a job so often, then let it end."""
    done = []
    while len(done) < kills:
        process = start(job, out)
        moment = draw.uniform(job.imports, 1) * seconds
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        said = process.communicate()[0]
        killed = process.returncode == -signal.SIGKILL
        if not killed and process.returncode:
            raise RuntimeError(f'{job.name} failed after a kill:\n{said[-3000:]}')
        if not killed:  # it ended before: that was no kill, begin anew
            seconds *= 0.9
            shutil.rmtree(out, ignore_errors=True)
            continue
        parts = [p for p in snapshot(out) if '.part' in p] if out.exists() else []
        done.append(dict(job=job.name, after=round(moment, 3), half_written=parts))
    run(job, out)
    return done


def pair(job: Job, out: Path, wait: float) -> tuple[str, list[str]]:
    """Start a job twice at once; how it ended, and what was wrong."""
    first = start(job, out)
    time.sleep(wait)
    second = start(job, out)
    said = [process.communicate()[0] for process in (first, second)]
    codes = [first.returncode, second.returncode]
    wrong = []
    for code, text in zip(codes, said):
        if code == 2 and 'in use by' in text and 'process ' in text:
            continue
        if code:
            wrong.append(f'{job.name}: a pair ended with {codes}: {text[-500:]}')
    if 0 not in codes:
        wrong.append(f'{job.name}: none of a pair ended: {codes}')
    return 'refused' if 2 in codes else 'one after the other', wrong


def compare(what: str, found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    return [f'{what}: {name} differs' for name in sorted(names)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--pairs', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--only', nargs='+', help='names of jobs')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/kill_anywhere'))
    parser.add_argument('--json', type=Path, help='file for all kills')
    args = parser.parse_args(argv)
    root, draw = args.work_dir.resolve(), random.Random(args.seed)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    jobs, mine = make_jobs(root, args.only)
    before = [snapshot(folder) for folder in mine]
    whole, seconds = {}, {}
    for job in jobs:
        out = root / 'whole' / job.name
        seconds[job.name] = run(job, out)
        whole[job.name] = result(out)
    kills: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    wrong: list[str] = []

    def check(job: Job, out: Path) -> None:
        wrong.extend(compare(job.name, result(out), whole[job.name]))
        for folder, content in zip(mine, before):
            wrong.extend(
                compare(f'{job.name}, the folder {folder.name}', snapshot(folder), content)
            )
        shutil.rmtree(out)

    light = [job for job in jobs if job.imports != HEAVY]
    turns = [*light, *jobs]
    with Progress() as bar:
        task = bar.add_task('Kills', total=args.kills)
        while len(kills) < args.kills:
            for job in turns:
                left = min(KILLS_A_CHAIN, args.kills - len(kills))
                if not left:
                    break
                out = root / 'killed' / job.name
                kills += kill_chain(job, out, seconds[job.name], left, draw)
                check(job, out)
                bar.advance(task, left)
        task = bar.add_task('Pairs', total=args.pairs)
        for number in range(args.pairs):
            job = turns[number % len(turns)]
            out = root / 'pairs' / job.name
            wait = draw.uniform(0, 0.5) * seconds[job.name]
            ended, faults = pair(job, out, wait)
            pairs.append(dict(job=job.name, wait=round(wait, 3), ended=ended))
            wrong += faults
            check(job, out)
            bar.advance(task)
    show(jobs, seconds, kills, pairs, wrong)
    if args.json:
        args.json.write_text(
            json.dumps(dict(kills=kills, pairs=pairs, wrong=wrong, seconds=seconds), indent=1)
        )
    return int(bool(wrong))


def show(jobs, seconds, kills, pairs, wrong) -> None:
    """Print a line a job."""
    print('| job | undisturbed | kills | with a file half written | pairs | refused |')
    print('| --- | --- | --- | --- | --- | --- |')
    for job in jobs:
        own = [kill for kill in kills if kill['job'] == job.name]
        twice = [one for one in pairs if one['job'] == job.name]
        print(
            f'| {job.name} | {seconds[job.name]:.1f} s | {len(own)} | '
            f'{sum(bool(kill["half_written"]) for kill in own)} | {len(twice)} | '
            f'{sum(one["ended"] == "refused" for one in twice)} |'
        )
    print(f'{len(kills)} kills, {len(pairs)} pairs: {len(wrong)} differences')
    print(*wrong[:20], sep='\n')


if __name__ == '__main__':
    sys.exit(main())
