"""Seeds, threads, markers, real clips and a small built-in data set for the tests."""

import functools
import gc
import importlib
import os
import signal
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

# Before PyTorch and numpy start their threads. The processes that tests start inherit it, and
# import the package from here.
os.environ['OMP_NUM_THREADS'] = '1'
os.environ['PYTHONPATH'] = os.pathsep.join(
    filter(None, [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH')])
)

import cv2
import pytest
import torch
from helpers.camera import Camera
from helpers.forked_python import forked_pythons
from helpers.support import SHARED, run_tool
from mmengine.config import config as mmengine_config
from mmengine.dataset import base_dataset
from mmengine.registry import init_default_scope

import cnnlstm_mm  # noqa: F401

torch.set_num_threads(1)
if not torch.accelerator.is_available():  # else it notes for CUDA where it was called, each time
    torch.manual_seed = lambda seed: torch.default_generator.manual_seed(seed)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
cv2.setNumThreads(1)  # its threads are lost in a fork, which then waits for them for ever

# Each run formats its config three times, and each data set collects garbage, both of which take
# longer than a tiny training.
mmengine_config.FormatCode = lambda text, style_config: (text, True)
if os.access('/dev/shm', os.W_OK):
    # It writes each file of a config three times, and a disk lets it wait for that.
    folder = functools.partial(tempfile.TemporaryDirectory, dir='/dev/shm')
    files = SimpleNamespace(**{**vars(tempfile), 'TemporaryDirectory': folder})
    mmengine_config.tempfile = files
base_dataset.gc = SimpleNamespace(collect=lambda: 0)

to_onnx = torch.onnx.export


def export_with_one_registry(*args, **kwargs):
    """Exports share the table of operators, which takes longer to build than a small model."""
    registry = importlib.import_module('torch.onnx._internal.exporter._registration').ONNXRegistry
    if not hasattr(registry.from_torchlib, 'cache_info'):
        registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))
    return to_onnx(*args, **kwargs)


torch.onnx.export = export_with_one_registry

# Files of a minute or more.
LONGEST = ('test_onnx_recognizer', 'test_docs', 'test_gpu_loop', 'test_distributed')
LONGEST += ('test_compat', 'test_import', 'test_list_matrix')


def pytest_configure(config):
    """Measure the coverage of pytest and its workers, not of the processes that tests start."""
    controls_workers = config.getoption('numprocesses', None) and not hasattr(config, 'workerinput')
    if not controls_workers:
        os.environ.pop('COVERAGE_PROCESS_START', None)


def pytest_collection_modifyitems(items):
    """The longest files first, then those with most slow tests; skip GPU tests without CUDA.

    A worker that begins a long file last would keep the other ones waiting.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker('slow'))
    items.sort(key=lambda item: (item.path.stem not in LONGEST, -slow[item.path]))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='needs CUDA'))


def pytest_collection_finish():
    """Exempt what was imported from garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed_and_scope():
    init_default_scope('mmaction')
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder with real clips and weights; tests of it skip elsewhere."""
    if not SHARED.is_dir():
        pytest.skip(
            f'needs the real clips and weights of {SHARED}; set '
            'CNNLSTM_MM_SHARED to a folder that holds them'
        )
    return SHARED


@pytest.fixture(scope='session')
def quickstart_data(tmp_path_factory) -> Path:
    """A small built-in data set, made once."""
    out = tmp_path_factory.mktemp('quickstart')
    done = run_tool(
        'tools/data/make_quickstart.py', '--out', out, '--train-per-class', 4, '--val-per-class', 2
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope='module')
def forks():
    """Pythons that the module's tests and scripts start are forks, with the imports done.

    The value is the Python for scripts.
    """
    with forked_pythons() as python:
        yield python


@pytest.fixture
def camera():
    """Start cameras: camera(frames a connection, seconds between them)."""
    servers = []

    def start(frames, pause=0.02):
        servers.append(Camera(frames, pause))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
