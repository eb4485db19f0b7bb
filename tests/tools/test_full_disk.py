"""Each tool on a full disk: a sentence, exit code 2, and what was there before is intact."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from helpers.onnx_models import converted_once, exported
from helpers.support import ROOT, load_tool, run_tool
from helpers.tree import snapshot
from safetensors.torch import save_file
from test_report import write_run

from cnnlstm_mm.commands.prepare import probing, quickstart
from cnnlstm_mm.engine.checkpoint_files import save_checkpoint
from cnnlstm_mm.storage import atomic_path

pytestmark = pytest.mark.slow

SIZE = 1 << 20
LARGE = 64 << 20


@pytest.fixture
def disk(tmp_path, request):
    """A small disk; a test may name its bytes."""
    place = tmp_path / 'disk'
    place.mkdir()
    size = getattr(request, 'param', SIZE)
    command = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(place)]
    if os.name != 'posix' or os.getuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip('needs the right to mount a tmpfs')
    yield place
    subprocess.run(['umount', '-l', str(place)], check=True)


def fill(disk: Path, left: int = 0) -> Path:
    """Take all of its room but ``left`` bytes."""
    path = disk / 'filler'
    with path.open('wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    os.truncate(path, max(path.stat().st_size - left, 0))
    return path


def check_full(done) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert 'No space left on device' in line and 'fix: free some space' in line
    assert 'Traceback' not in done.stderr


QUICKSTART = '--size 64 --frames 8 --train-per-class 16 --val-per-class 8 --workers 1'.split()


def test_quickstart(disk):
    done = run_tool('tools/data/make_quickstart.py', '--out', disk / 'out', *QUICKSTART)
    check_full(done)

    videos = list((disk / 'out').rglob('*.avi'))
    assert videos and not [path for path in videos if path.name.startswith('.')]
    assert all(probing.probe(str(path))['frames'] == 8 for path in videos)
    assert len(quickstart.CLASSES) * 24 > len(videos)


def test_embeddings(disk):
    args = ('--out', disk / 'out', '--train-pairs', 3, '--val-pairs', 1)
    assert run_tool('tools/data/make_embeddings_quickstart.py', *args).returncode == 0
    shutil.rmtree(disk / 'out/vectors')
    before = snapshot(disk / 'out')
    filler = fill(disk, 4096 * 3)
    check_full(run_tool('tools/data/make_embeddings_quickstart.py', *args))
    assert {k: v for k, v in snapshot(disk / 'out').items() if 'vectors' not in k and k != '.'} == {
        k: v for k, v in before.items() if k != '.'
    }
    filler.unlink()
    assert run_tool('tools/data/make_embeddings_quickstart.py', *args).returncode == 0


@pytest.mark.parametrize('resized, left', [(False, 0), (False, 4096), (True, 4096), (True, 12288)])
def test_kinetics(disk, tmp_path, quickstart_data, resized, left):
    if resized:
        pytest.importorskip('imageio_ffmpeg')
    clips = sorted((quickstart_data / 'videos').rglob('*.avi'))
    table, videos = tmp_path / 'train.csv', tmp_path / 'VIDEOS/zumba'
    names = [f'clip{k}' for k in range(40)]
    table.write_text(
        'label,youtube_id,time_start,time_end\n' + ''.join(f'zumba,{n},1,11\n' for n in names)
    )
    videos.mkdir(parents=True)
    for name, clip in zip(names[:1], clips):
        shutil.copy(clip, videos / f'{name}_000001_000011.avi')
    args = ['train', videos.parent, table, '--data', 'kinetics400', '--workers', 1]
    args += ['--out', disk / 'out', *(['--short-side', 64] if resized else [])]
    tool = 'tools/data/prepare_kinetics.py'
    assert run_tool(tool, *args).returncode == 0
    before = snapshot(disk / 'out')
    for name, clip in zip(names, clips):
        shutil.copy(clip, videos / f'{name}_000001_000011.avi')
    filler = fill(disk, left)
    check_full(run_tool(tool, *args))
    after = snapshot(disk / 'out')
    log = disk / 'out/checked_train.jsonl'
    assert json.loads(log.read_text().splitlines()[0])['name']
    changing = ('.', 'checked_train.jsonl', 'videos_train/zumba')
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }
    filler.unlink()
    done = run_tool(tool, *args)
    assert done.returncode == 0 and '40 of 40' in done.stdout


def test_any_writer(disk):
    """Of libraries that have errors of their own."""
    path = disk / 'file'
    path.write_text('before')
    fill(disk, 8192)
    tensor = torch.zeros(100_000)
    for write in (
        lambda part: save_file(dict(a=tensor), str(part)),
        lambda part: torch.save(tensor, part),
        lambda part: part.write_bytes(bytes(100_000)),
    ):
        with pytest.raises(
            OSError, match='No space left on device, what was there before is intact'
        ):
            with atomic_path(path) as part:
                write(part)
        assert path.read_text() == 'before' and set(os.listdir(disk)) == {'file', 'filler'}


def test_report(disk, tmp_path):
    work_dir = write_run(tmp_path / 'run', 5, tested=0.5)
    args = [work_dir, '--configs', ROOT / 'configs']
    args += [f'--{kind}={disk}/{kind}' for kind in ('json', 'html', 'markdown', 'plot')]
    assert run_tool('tools/report.py', *args).returncode == 0
    before = snapshot(disk)
    filler = fill(disk, 4096 * 4)  # enough for the locks
    check_full(run_tool('tools/report.py', *args))
    after = snapshot(disk)
    assert {k: v for k, v in after.items() if k not in ('.', 'filler')} == {
        k: v for k, v in before.items() if k != '.'
    }
    filler.unlink()
    assert run_tool('tools/report.py', *args).returncode == 0


def test_converted_and_merged_checkpoints(disk):
    path = disk / 'a.pth'
    save_checkpoint(dict(state_dict=dict(w=torch.zeros(10))), path)
    before = snapshot(path)
    fill(disk, 8192)
    with pytest.raises(OSError, match='could not be written.*fix: free some space'):
        save_checkpoint(dict(state_dict=dict(w=torch.zeros(100_000))), path)
    assert snapshot(path) == before and set(os.listdir(disk)) == {'a.pth', 'filler'}


@pytest.fixture(scope='module')
def jobs(tmp_path_factory, forks):
    """The commands of benchmarks/kill_anywhere.py, and the training that they use."""
    kill_anywhere = load_tool('benchmarks/kill_anywhere.py')
    root = tmp_path_factory.mktemp('jobs')
    return {job.name: job for job in kill_anywhere.make_jobs(root)[0]}, root


@pytest.mark.parametrize('disk', [LARGE], indirect=True)
@pytest.mark.parametrize('name, left', [('ucf101', 0), ('ucf101', 65536), ('extract', 32768)])
def test_goes_on_when_there_is_room(disk, tmp_path, jobs, name, left):
    """What a full disk stopped ends, with room, as if nothing had been."""
    kill_anywhere = load_tool('benchmarks/kill_anywhere.py')
    job = jobs[0][name]

    def run(out):
        return run_tool(job.tool, *(arg.replace('{out}', str(out)) for arg in job.args))

    assert run(tmp_path / 'whole').returncode == 0
    (disk / 'mine.txt').write_text('mine')
    filler = fill(disk, left)
    check_full(run(disk / 'out'))
    assert (disk / 'mine.txt').read_text() == 'mine'
    filler.unlink()
    done = run(disk / 'out')
    assert done.returncode == 0, done.stderr
    assert kill_anywhere.result(disk / 'out') == kill_anywhere.result(tmp_path / 'whole')


@pytest.mark.parametrize('disk', [LARGE], indirect=True)
def test_export_keeps_the_last_model(disk, jobs):
    job = jobs[0]['export']
    args = [arg.replace('{out}', str(disk)) for arg in job.args]
    with converted_once():
        assert run_tool(job.tool, *args).returncode == 0
        before = snapshot(disk)
        filler = fill(disk, 8192)
        check_full(run_tool(job.tool, *args))
    filler.unlink()
    after = snapshot(disk)
    assert {k: v for k, v in after.items() if k != '.'} == {
        k: v for k, v in before.items() if k != '.'
    }


@pytest.mark.parametrize('disk', [LARGE], indirect=True)
def test_training_keeps_the_last_checkpoint(disk, jobs, tmp_path):
    config = jobs[1] / 'tiny.py'
    args = [config, '--work-dir', disk / 'run', '--seed', 0, '--no-validate', '--resume']
    assert run_tool('tools/train.py', *args).returncode == 0
    last = disk / 'run/epoch_1.pth'
    before = snapshot(last)
    filler = fill(disk, 262144)
    more = ['--cfg-options', 'train_cfg.max_epochs=2', '--allow-changed', 'epochs']
    check_full(run_tool('tools/train.py', *args, *more))
    assert snapshot(last) == before
    assert (disk / 'run/last_checkpoint').read_text() == str(last)
    filler.unlink()
    done = run_tool('tools/train.py', *args, *more)
    assert done.returncode == 0, done.stderr
    assert (disk / 'run/epoch_2.pth').is_file()


def test_hmdb51(disk, tmp_path, quickstart_data):
    clips = sorted((quickstart_data / 'videos').rglob('*.avi'))[:2]
    videos, splits = tmp_path / 'hmdb51_org', tmp_path / 'splits'
    splits.mkdir()
    for number, (name, clip) in enumerate(zip(('wave', 'run'), clips)):
        (videos / name).mkdir(parents=True)
        shutil.copy(clip, videos / name / 'a.avi')
        for split in (1, 2, 3):
            (splits / f'{name}_test_split{split}.txt').write_text(f'a.avi {number + 1}\n')
    args = [videos, splits, '--out', disk / 'out', '--workers', 1]
    assert run_tool('tools/data/prepare_hmdb51.py', *args).returncode == 0
    before = snapshot(disk / 'out', times=False)
    filler = fill(disk, 4096)
    shutil.copy(clips[1], videos / 'wave/b.avi')
    check_full(run_tool('tools/data/prepare_hmdb51.py', *args))
    filler.unlink()
    (videos / 'wave/b.avi').unlink()
    assert run_tool('tools/data/prepare_hmdb51.py', *args).returncode == 0
    assert snapshot(disk / 'out', times=False) == before


@pytest.mark.parametrize('disk', [LARGE], indirect=True)
def test_web_page(disk, tmp_path):
    exported('conv_mean', tmp_path / 'step.onnx', dict(type='OneConvolution'))
    args = [tmp_path / 'step.onnx', '--out', disk / 'page']
    done = run_tool('tools/export_web.py', *args)
    if 'npm' in done.stderr:
        pytest.skip('needs npm, which fetches onnxruntime-web')
    assert done.returncode == 0, done.stderr
    before = snapshot(disk / 'page', times=False)
    fill(disk, 8192)
    check_full(run_tool('tools/export_web.py', *args))
    assert snapshot(disk / 'page', times=False) == before
