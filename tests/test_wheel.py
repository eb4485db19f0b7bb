"""The sdist is complete, and the wheel works outside the checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers.support import ROOT

pytestmark = pytest.mark.slow
# What a checkout holds beside the project.
APART = re.compile(r'work_dirs|data|checkpoints|build|dist|.*\.egg-info|\..*')


def build(kind, tree, out):
    """Build an sdist or a wheel of a tree with this environment's setuptools; the file."""
    code = 'import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))'
    done = subprocess.run(
        [sys.executable, '-c', code, f'build_{kind}', str(out)],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope='module')
def places(tmp_path_factory):
    """An unpacked sdist of this checkout, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp('dist')

    def apart(place, names):
        top = Path(place) == ROOT
        return [n for n in names if n == '__pycache__' or (top and APART.fullmatch(n))]

    shutil.copytree(ROOT, folder / 'tree', ignore=apart, symlinks=True)
    with tarfile.open(build('sdist', folder / 'tree', folder)) as archive:
        archive.extractall(folder / 'sdist', filter='data')
    (tree,) = (folder / 'sdist').iterdir()
    return tree, build('wheel', tree, folder)


@pytest.fixture(scope='module')
def installed(places, tmp_path_factory):
    """A clean environment with the wheel; the requirements are those of this environment."""
    folder = tmp_path_factory.mktemp('installed')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder / 'venv'], check=True)
    python = folder / 'venv/bin/python'
    (site,) = (folder / 'venv/lib').glob('python3*/site-packages')
    # As a path alone: the editable installation of this checkout is not taken over.
    (site / 'requirements.pth').write_text(sysconfig.get_path('purelib') + '\n')
    pip = [sys.executable, '-m', 'pip', '--python', str(python), 'install', '--quiet']
    pip += ['--ignore-installed']  # the editable one of this environment
    subprocess.run([*pip, '--no-deps', '--no-index', '--no-compile', places[1]], check=True)
    (folder / 'work').mkdir()

    def run(*words, code=0):
        env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
        done = subprocess.run(
            [str(python.parent / words[0]), *map(str, words[1:])],
            cwd=folder / 'work',
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def tracked():
    """Files of the project, as git lists them."""
    done = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip('needs a git checkout')
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_the_sdist_holds_the_whole_project(places):
    tree, _ = places
    absent = [name for name in tracked() if not (tree / name).is_file()]
    assert [name for name in absent if not Path(name).name.startswith('.') and name[0] != '.'] == []
    assert not (tree / 'cnnlstm_mm/.mim').exists()


def test_the_tests_of_the_sdist_run(places):
    tree, _ = places
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-q',
        '-p',
        'no:cacheprovider',
        'tests/test_config.py',
    ]
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run([*command, 'tests/test_storage.py'], cwd=tree, env=env)
    assert done.returncode == 0
    collect = [*command[:-1], '--collect-only', '--assert=plain', 'tests']
    done = subprocess.run(collect, cwd=tree, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_wheel_holds_what_a_checkout_has(places):
    names = set(zipfile.ZipFile(places[1]).namelist())
    for name in tracked():
        inside = {
            'configs': f'cnnlstm_mm/.mim/{name}',
            'tools': f'cnnlstm_mm/.mim/{name}',
            'cnnlstm_mm': name,
        }.get(name.split('/')[0])
        assert inside is None or inside in names, name
    assert 'cnnlstm_mm/.mim/model-index.yml' in names
    homes = {name.split('/')[0] for name in names}
    assert {home for home in homes if not home.endswith('.dist-info')} == {'cnnlstm_mm'}


WHERE = """
import cnnlstm_mm, sys
from pathlib import Path
from mmengine.hub import get_config
assert 'pkg_resources' not in sys.modules
cfg = get_config('cnnlstm_mm::mobilenet_convlstm_ucf101.py')
assert cfg.model.neck.type == 'ConvLSTMNeck'
base = get_config('cnnlstm_mm::_base_/default_runtime.py')
own = Path('own.py')
own.write_text("_base_ = 'cnnlstm_mm::mobilenet_lstm_ucf101.py'")
from mmengine.config import Config
assert Config.fromfile(own).model.neck.type == 'LSTMPoolingNeck'
assert get_config('mmaction::recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py')
print(cnnlstm_mm.__file__)
"""


def test_from_the_wheel_to_answers(installed):
    where = installed('python', '-c', WHERE).split()[-1]
    assert not Path(where).is_relative_to(ROOT) and 'site-packages' in where
    installed('cnnlstm-mm', 'doctor')
    recipe = 'mobilenet_convlstm_quickstart'
    assert recipe in installed('cnnlstm-mm', 'configs')
    small = ('--train-per-class', 4, '--val-per-class', 1, '--workers', 1)
    installed('cnnlstm-mm', 'prepare', 'quickstart', '--out', 'data/quickstart', *small)
    options = ('train_dataloader.num_workers=0', 'val_dataloader.num_workers=0')
    train = ('train', recipe, '--cfg-options', 'train_cfg.max_epochs=1', *options)
    installed('cnnlstm-mm', *train)
    checkpoint = f'work_dirs/{recipe}/epoch_1.pth'
    videos = sorted((Path(where).parents[5] / 'work/data').rglob('*.avi'))[:2]
    answers = installed('cnnlstm-mm', 'predict', recipe, checkpoint, *videos, '--workers', 0)
    assert all(video.name in answers for video in videos)
    model = ('export', recipe, checkpoint, '--mode', 'step', '--out', 'step.onnx')
    installed('cnnlstm-mm', *model)
    assert 'usage: train.py' in installed(
        'python', Path(where).parent / '.mim/tools/train.py', '--help'
    )
    installed('python', '-m', 'cnnlstm_mm', 'configs', 'no such recipe', code=1)
