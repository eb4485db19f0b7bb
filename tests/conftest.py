"""What several tests need: seeds, real clips, a small built-in data set."""

from pathlib import Path

import pytest
import torch
from helpers.camera import Camera
from helpers.support import SHARED, run_python
from mmengine.registry import init_default_scope

import cnnlstm_mm  # noqa: F401


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
    done = run_python(
        'tools/data/make_quickstart.py', '--out', out, '--train-per-class', 4, '--val-per-class', 2
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


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
