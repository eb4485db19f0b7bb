"""GPU, distributed processes, video decoders, disk and memory."""

import os
import shutil
import tempfile
from pathlib import Path

from .environment import opencv_fix
from .result import Result, tried

GIB = 2**30
CUDA = r"""
import torch
if torch.cuda.is_available():
    x = torch.ones(64, 64, device='cuda')
    assert (x @ x).sum().item() == 64**3
    size = torch.cuda.get_device_properties(0).total_memory / 2**30
    print(f'{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, '
          f'{size:.0f} GiB')
else:
    print('none' if torch.version.cuda is None else 'unusable')
"""
# All-reduce over two processes; argv: the file of their rendezvous.
REDUCE = r"""
import os, sys, torch, torch.multiprocessing as mp, torch.distributed as dist
def work(rank, backend, place):
    if backend == 'nccl':
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=f'file://{place}', rank=rank,
                            world_size=2)
    x = torch.full((1,), rank + 1., device='cuda' if backend == 'nccl' else
                   'cpu')
    dist.all_reduce(x)
    assert x.item() == 3, x
    dist.destroy_process_group()
backend = 'gloo'
if torch.cuda.device_count() > 1 and dist.is_nccl_available():
    backend = 'nccl'
mp.start_processes(work, (backend, sys.argv[1]), 2, start_method='fork' if
                   backend == 'gloo' else 'spawn')
print(backend)
"""
# Writes a video whose frames have known colours and reads it again.
DECODE = r"""
import sys, cv2, numpy as np
path, reader = sys.argv[1:]
out = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
assert out.isOpened(), 'OpenCV cannot write an .avi'
for k in range(10):
    out.write(np.full((48, 64, 3), 20 * k + 20, np.uint8))
out.release()
if reader == 'decord':
    import decord
    frames = decord.VideoReader(path, num_threads=1)
    means = [frames[k].asnumpy().mean() for k in range(len(frames))]
else:
    capture, means = cv2.VideoCapture(path), []
    while True:
        good, frame = capture.read()
        if not good:
            break
        means.append(frame.mean())
assert len(means) == 10, f'{len(means)} frames of 10'
assert max(abs(m - 20 * k - 20) for k, m in enumerate(means)) < 4, means
print('10 frames')
"""


def accelerator() -> list[Result]:
    """Whether PyTorch finds a GPU and computes on it."""
    good, said = tried(CUDA)
    if not good:
        return [
            Result(
                'GPU',
                'failed',
                said,
                'PyTorch finds a GPU but cannot use it: does the driver '
                '(nvidia-smi) match this build of PyTorch? See "Get '
                'started" on pytorch.org.',
            )
        ]
    if said == 'none':
        has_driver = shutil.which('nvidia-smi') is not None
        return [
            Result(
                'GPU',
                'warning' if has_driver else 'ok',
                'none: PyTorch is a CPU build',
                'nvidia-smi is installed: install a CUDA build of PyTorch, '
                'see "Get started" on pytorch.org.'
                if has_driver
                else '',
            )
        ]
    if said == 'unusable':
        return [
            Result(
                'GPU',
                'warning',
                'a CUDA build of PyTorch, but no GPU',
                'Training runs on the CPU. Is the driver loaded '
                '(nvidia-smi), and CUDA_VISIBLE_DEVICES not empty?',
            )
        ]
    return [Result('GPU', 'ok', said)]


def distributed() -> list[Result]:
    """Whether two processes can run an all-reduce."""
    with tempfile.TemporaryDirectory() as folder:
        good, said = tried(REDUCE, 60.0, str(Path(folder, 'meet')))
    if good:
        return [Result('two processes', 'ok', f'all-reduce over {said}')]
    return [
        Result(
            'two processes',
            'failed',
            said,
            'Training with several processes will fail. For NCCL see '
            'NCCL_DEBUG=INFO and NCCL_SOCKET_IFNAME, for gloo '
            'GLOO_SOCKET_IFNAME (ip addr lists the names).',
        )
    ]


def decoder() -> list[Result]:
    """Whether a video that was just written can be read."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, 'colours.avi'))
        for reader in ('decord', 'OpenCV'):
            good, said = tried(DECODE, 60.0, path, reader)
            if not good and 'No module named' in said and reader == 'decord':
                continue  # reported with the versions
            results.append(
                Result(
                    f'decoder: {reader}',
                    'ok' if good else 'failed',
                    said,
                    '' if good else _decoder_fix(reader, said),
                )
            )
    return results


def _decoder_fix(reader: str, error: str) -> str:
    if reader == 'OpenCV' or 'cv2' in error or 'libGL' in error:
        return opencv_fix(error)
    return 'pip install --force-reinstall --no-deps decord'


def disk(work_dir: str) -> list[Result]:
    """Free disk space for the runs."""
    place = _existing(work_dir)
    free = shutil.disk_usage(place).free / GIB
    return [
        Result(
            f'disk at {work_dir}',
            'ok' if free > 5 else 'warning',
            f'{free:.1f} GiB free',
            ''
            if free > 5
            else 'A run keeps four checkpoints: free some space, or choose another --work-dir.',
        )
    ]


def shared_memory() -> list[Result]:
    """Shared memory, through which data loader workers pass batches."""
    if not Path('/dev/shm').is_dir():
        return [Result('shared memory', 'ok', 'no /dev/shm on this system')]
    size = shutil.disk_usage('/dev/shm')
    found = f'{size.free / GIB:.1f} of {size.total / GIB:.1f} GiB free'
    if size.free > GIB:
        return [Result('shared memory', 'ok', found)]
    return [
        Result(
            'shared memory',
            'warning',
            found,
            'Workers may die with "Bus error". In docker: --ipc=host '
            'or --shm-size=8g. Or: --cfg-options '
            'train_dataloader.num_workers=0',
        )
    ]


def write_access(work_dir: str) -> list[Result]:
    """Whether runs and temporary files can be written."""
    results = []
    for name, place in (
        ('write access: ' + work_dir, _existing(work_dir)),
        ('write access: temporary files', Path(tempfile.gettempdir())),
    ):
        try:
            with tempfile.NamedTemporaryFile(dir=place) as file:
                file.write(b'x' * 4096)
                file.flush()
                os.fsync(file.fileno())
            results.append(Result(name, 'ok', f'{place} is writable'))
        except OSError as error:
            results.append(
                Result(
                    name, 'failed', f'{place}: {error}', 'Choose another --work-dir, or set TMPDIR.'
                )
            )
    return results


def _existing(path: str) -> Path:
    place = Path(path).absolute()
    while not place.is_dir():
        place = place.parent
    return place
