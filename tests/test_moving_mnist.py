"""examples/moving_mnist.py with tiny settings."""

import gzip
import re
import struct

import cv2
import numpy as np
import pytest
import torch
from helpers.support import load_tool, run_tool

PATH = 'examples/moving_mnist.py'
TINY = '--frames 2 --size 24 --hidden 4 --steps 2 --clips 3 --batch-size 2 --repeats 1'.split()


def test_it_trains_compares_and_draws(tmp_path):
    done = run_tool(PATH, *TINY, '--out', tmp_path / 'new' / 'digits.png')
    assert done.returncode == 0, done.stderr
    ours, common = (
        float(re.search(rf'^{name} +(\S+)', done.stdout, re.M)[1])
        for name in ('ours', 'common cell')
    )
    assert abs(ours - common) <= 2e-6
    assert re.search(r'^forecaster +\S+ \S+\nlast frame +\S+ \S+', done.stdout, re.M)
    assert cv2.imread(str(tmp_path / 'new' / 'digits.png')).shape == (6 * 24, 4 * 24, 3)


def test_digits_bounce_inside_of_the_frame():
    tool, rng = load_tool(PATH), np.random.default_rng(0)
    square = np.ones((1, tool.GLYPH, tool.GLYPH), np.float32)
    clips = tool.make_clips(square, 20, 30, 28, rng)
    assert clips.shape == (20, 30, 1, 28, 28)
    assert (clips.sum((2, 3, 4)) >= tool.GLYPH**2).all()  # never cut off
    corners = [(clip[t, 0] > 0).nonzero().amin(0) for clip in clips for t in range(30)]
    assert torch.stack(corners).amin() == 0
    moves = (clips[:, 1:] - clips[:, :-1]).abs().sum((2, 3, 4))
    assert (moves > 0).float().mean() > 0.95


def test_digits_of_mnist(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    data = struct.pack('>4i', 2051, 12, 28, 28) + images.tobytes()
    (tmp_path / 'plain').write_bytes(data)
    (tmp_path / 'packed.gz').write_bytes(gzip.compress(data))
    tool = load_tool(PATH)
    digits = tool.read_digits(tmp_path / 'plain')
    assert digits.shape == (12, 20, 20) and digits.mean() == pytest.approx(0.5, abs=0.05)
    assert np.array_equal(digits, tool.read_digits(tmp_path / 'packed.gz'))
    (tmp_path / 'labels').write_bytes(struct.pack('>2i', 2049, 12) + bytes(12))
    done = run_tool(PATH, *TINY, '--digits', tmp_path / 'labels')
    assert done.returncode == 2 and 'expected images of MNIST, got' in done.stderr


def test_a_size_that_does_not_fold():
    done = run_tool(PATH, *TINY, '--size', 30)
    assert done.returncode == 2 and 'a multiple of 4 above 20, got 30' in done.stderr
