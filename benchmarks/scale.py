"""Start-up, memory and sampler of a training on a million clips, and a store of 31,250 shards.

    python benchmarks/scale.py --clips 300000 1000000 --shards 31250 --folder work_dirs/scale

Makes the lists, the index and the shards (of one small clip each) itself; the videos of the lists
are links to one file, made for the clips that are looked up. Each rank is a process of its own.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROCESS = r"""
import gc, json, os, sys, time
import torch
sys.path.insert(0, sys.argv[1])
def memory():
    gc.collect()
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith('VmRSS'))
"""
RANK = r"""
import torch.distributed as dist
from mmengine.config import Config
import cnnlstm_mm
from cnnlstm_mm.datasets import CheckedVideoDataset
from cnnlstm_mm.datasets.resumable_loader import ResumableBatchSampler
from cnnlstm_mm.engine.launch import check_files
from mmengine.dataset import DefaultSampler
from torch.utils.data import BatchSampler
folder, name = sys.argv[2:]
dist.init_process_group('gloo')
before, start = memory(), time.perf_counter()
data = dict(type='CheckedVideoDataset', ann_file=f'{folder}/{name}', pipeline=[],
            data_prefix=dict(video=f'{folder}/videos'))
cfg = Config(dict(model=dict(cls_head=dict(num_classes=400)), train_dataloader=dict(dataset=data)))
check_files(cfg, ['train'])
dataset = CheckedVideoDataset(**{k: v for k, v in data.items() if k != 'type'})
started = time.perf_counter() - start
torch.manual_seed(0)
batches = ResumableBatchSampler(BatchSampler(DefaultSampler(dataset, True), 8, False))
start = time.perf_counter()
for _ in batches:
    pass
epoch = time.perf_counter() - start
start = time.perf_counter()
for k in range(0, len(dataset), max(len(dataset) // 5000, 1)):
    dataset.get_data_info(k)
row = (time.perf_counter() - start) / 5000
print(json.dumps(dict(rank=dist.get_rank(), clips=len(dataset), start=started, before=before,
                      after=memory(), epoch=epoch, row=row)))
dist.destroy_process_group()
"""
STORE = r"""
from cnnlstm_mm.features import CachedFeatureDataset
before, start = memory(), time.perf_counter()
data = CachedFeatureDataset(store=sys.argv[2], split='train')
started = time.perf_counter() - start
numbers = torch.randperm(len(data))[:2000].tolist()
start = time.perf_counter()
most = 0
for k in numbers:
    data[k]
    most = max(most, len(os.listdir('/proc/self/fd')))
maps = sum('.safetensors' in line for line in open('/proc/self/maps'))
print(json.dumps(dict(clips=len(data), start=started, grown=memory() - before, files=most, maps=maps,
                      read=(time.perf_counter() - start) / len(numbers))))
"""


def make_lists(folder: Path, counts: list[int]) -> list[str]:
    """Write an empty and the wanted lists with their index; the clips looked up exist."""
    from cnnlstm_mm.datasets import clip_index

    (folder / 'videos').mkdir(parents=True, exist_ok=True)
    names = []
    for count in (8, *counts):
        name = f'{count}_train_list.txt'
        rows = [
            (f'class_{k % 400:03d}/a_usual_name_{k:07d}_000010.mp4', k % 400) for k in range(count)
        ]
        (folder / name).write_text(''.join(f'{path} {label}\n' for path, label in rows))
        facts = dict(size=0, mtime_ns=0, frames=300, fps=30.0, width=340, height=256, codec='h264')
        start = time.perf_counter()
        clip_index.write_index(
            folder / clip_index.NAME, 'videos', {name: rows}, {path: facts for path, _ in rows}
        )
        print(f'index of {count} clips written in {time.perf_counter() - start:.1f} s', flush=True)
        for path, _ in rows[:: -(-count // clip_index.CHECKED)]:
            file = folder / 'videos' / path
            file.parent.mkdir(exist_ok=True)
            file.touch()
        names.append(name)
    return names


def make_store(folder: Path, shards: int, clips: int) -> None:
    """Write a store whose shards are copies of one, linked."""
    import torch

    from cnnlstm_mm.features.packed_sample import pack_sample
    from cnnlstm_mm.features.store import FORMAT, shard_path, write_manifest, write_shard
    from mmaction.structures import ActionDataSample

    split = folder / 'train'
    split.mkdir(parents=True)
    sample = pack_sample(ActionDataSample().set_gt_label(3))
    for shard in range(shards):
        numbers = range(shard * clips, (shard + 1) * clips)
        entries = [dict(index=k, filename=f'{k}.mp4', label=3, views=[sample]) for k in numbers]
        if shard < 3:
            write_shard(split, shard, {k: torch.zeros(1, 8, 4, 1, 1) for k in numbers}, entries)
        else:  # without flushing each to the disk
            from safetensors.torch import save_file

            tensors = {str(k): torch.zeros(1, 8, 4, 1, 1) for k in numbers}
            save_file(tensors, str(shard_path(split, shard)), dict(clips=json.dumps(entries)))
    write_manifest(
        folder,
        dict(
            format=FORMAT,
            shard_clips=clips,
            splits=dict(train=dict(folder='train', clips=shards * clips)),
        ),
    )


def ranks(folder: Path, name: str, processes: int) -> list[dict]:
    """Run the ranks of one training."""
    environment = dict(
        os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT='29517', OMP_NUM_THREADS='1'
    )
    started = [
        subprocess.Popen(
            [sys.executable, '-c', PROCESS + RANK, str(ROOT), str(folder), name],
            env=dict(environment, RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f'a rank failed on {name}')
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def main() -> None:
    """Make all, run, print tables."""
    parser = argparse.ArgumentParser(description='Training on a million clips')
    parser.add_argument('--clips', type=int, nargs='+', default=[300_000, 1_000_000])
    parser.add_argument('--shards', type=int, default=31_250)
    parser.add_argument('--shard-clips', type=int, default=32)
    parser.add_argument('--ranks', type=int, default=2)
    parser.add_argument('--folder', type=Path, help='where to make the files; default a new one')
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix='scale_'))
    sys.path.insert(0, str(ROOT))
    names = make_lists(folder, args.clips)
    rows = [ranks(folder, name, args.ranks) for name in names]
    empty = max(row['after'] - row['before'] for row in rows[0])
    print(
        '| clips | start-up, s | memory a rank above an empty list, MB | sampler an epoch, s '
        '| a row, us |\n| --- | --- | --- | --- | --- |'
    )
    for row in rows[1:]:
        start, epoch = (max(rank[key] for rank in row) for key in ('start', 'epoch'))
        memory = max(rank['after'] - rank['before'] for rank in row) - empty
        each = max(rank['row'] for rank in row) * 1e6
        print(f'| {row[0]["clips"]:,} | {start:.2f} | {memory:.0f} | {epoch:.2f} | {each:.0f} |')
    if args.shards:
        store = folder / 'store'
        shutil.rmtree(store, ignore_errors=True)
        make_store(store, args.shards, args.shard_clips)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        done = subprocess.run(
            [sys.executable, '-c', PROCESS + STORE, str(ROOT), str(store)],
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f'\nstore of {args.shards:,} shards, {found["clips"]:,} clips: opened in '
            f'{found["start"]:.2f} s, {found["files"]} files open and {found["maps"]} mapped at most '
            f'(limit {limit[0]}), {found["grown"]:.0f} MB, {found["read"] * 1e3:.2f} ms a clip at random'
        )
    if args.folder is None:
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
