"""Write a static page that runs a step model in the visitor's browser.

    cnnlstm-mm export-web CONFIG CHECKPOINT --out page
    cnnlstm-mm export-web step.onnx --out page
    python -m http.server -d page

Webcam or video file in, scores out, with onnxruntime-web. The folder is
self-contained: it works offline, and no frame leaves the browser. onnxruntime-web comes
from npm when the page is written, or from --ort-dir.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import onnx

from cnnlstm_mm.cli import add_label_file, run_command
from cnnlstm_mm.resources import resource_root
from cnnlstm_mm.storage import atomic_path, locked, write_json

ORT_VERSION = '1.30.0'
ORT_FILES = ('ort.wasm.min.js', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm')
PAGE = Path(__file__).with_name('web')


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Write a page that recognizes actions in the browser'
    )
    parser.add_argument('model', help='a step model of cnnlstm-mm export (.onnx), or a config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file, with a config')
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument(
        '--ort-dir',
        help='folder with the dist files of onnxruntime-web '
        f'{ORT_VERSION}; default: fetched with npm',
    )
    add_label_file(parser)
    return parser


def read_facts(path: Path) -> dict[str, Any]:
    """Read the metadata of a step model that the page needs.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a step model, or needs a preprocessing step
            that the page lacks.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'expected a step model, got {path}: no such file; fix: write one with '
            'cnnlstm-mm export --mode step'
        )
    stored = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    if stored.get('mode') != 'step':
        raise ValueError(
            f'expected a step model, got {path} with the mode {stored.get("mode")!r}; fix: write '
            'one with cnnlstm-mm export --mode step'
        )
    facts = {
        name: json.loads(stored[name])
        for name in ('labels', 'preprocessing', 'state', 'probabilities', 'frame_interval')
    }
    facts['none_class'] = json.loads(stored.get('none_class', 'null'))
    facts['multi_class'] = json.loads(stored.get('multi_class', 'false'))
    for step in facts['preprocessing']['steps']:
        if step.get('interpolation', 'bilinear') != 'bilinear':
            raise ValueError(
                f'expected a step that the page can run, got {step}; fix: use '
                'interpolation="bilinear" in the Resize of the test pipeline'
            )
    return facts


def copy(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    with atomic_path(target) as path:
        shutil.copyfile(source, path)


def copy_ort(folder: Path, ort_dir: Path) -> None:
    """Copy the files of onnxruntime-web that the page needs.

    Args:
        folder (Path): Target folder.
        ort_dir (Path): The dist folder of onnxruntime-web.

    Raises:
        FileNotFoundError: If a file is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ORT_FILES:
        if not (ort_dir / name).is_file():
            raise FileNotFoundError(
                f'expected {name} in {ort_dir}, got no such file; fix: pass --ort-dir with the '
                f'dist folder of onnxruntime-web {ORT_VERSION}'
            )
        if ort_dir.resolve() != folder.resolve():
            copy(ort_dir / name, folder / name)


def fetch_ort(folder: Path) -> None:
    """Fetch onnxruntime-web with npm and copy the files that the page needs.

    Raises:
        RuntimeError: If npm is missing or fails.
    """
    npm, package = shutil.which('npm'), f'onnxruntime-web@{ORT_VERSION}'
    if npm is None:
        raise RuntimeError(
            f'expected npm to fetch {package}, got none installed; fix: install Node.js, '
            f'or pass --ort-dir with the dist folder of that package'
        )
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [npm, 'pack', package, '--silent'], cwd=place, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f'npm pack {package} failed:\n{done.stderr}')
        (archive,) = Path(place).glob('*.tgz')
        with tarfile.open(archive) as tar:
            for name in ORT_FILES:
                tar.extract(f'package/dist/{name}', place, filter='data')
        copy_ort(folder, Path(place) / 'package' / 'dist')


def write(args: argparse.Namespace) -> Path:
    """Write the page and return its folder."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model = out / 'model.onnx'
    if args.checkpoint:
        labels = ['--label-file', args.label_file] if args.label_file else []
        done = subprocess.run(
            [
                sys.executable,
                str(resource_root() / 'tools/export_onnx.py'),
                args.model,
                args.checkpoint,
                '--mode',
                'step',
                '--out',
                str(model),
                *labels,
            ]
        )
        if done.returncode:
            raise RuntimeError(
                'expected an exported model, got none; fix: see the error of the export above'
            )
    else:
        read_facts(Path(args.model))
        if Path(args.model).resolve() != model.resolve():
            copy(Path(args.model), model)
    facts = dict(read_facts(model), title=Path(args.model).stem)
    write_json(out / 'model.json', facts)
    for file in PAGE.iterdir():
        copy(file, out / file.name)
    if args.ort_dir:
        copy_ort(out / 'ort', Path(args.ort_dir))
    else:
        fetch_ort(out / 'ort')
    return out


def export(args: argparse.Namespace) -> None:
    """Write the page and print how to open it."""
    if args.model.endswith('.onnx') == bool(args.checkpoint):
        raise ValueError('expected either a step model (.onnx) or CONFIG CHECKPOINT')
    if args.label_file and not args.checkpoint:
        raise ValueError(
            'expected CONFIG CHECKPOINT with --label-file, got an .onnx file, which holds its '
            'labels; fix: drop --label-file'
        )
    with locked(args.out, 'export_web'):
        out = write(args)
    size = sum(file.stat().st_size for file in out.rglob('*'))
    print(
        f'wrote {out} ({size / 2**20:.1f} MiB). Put it on any web server; '
        f'here: python -m http.server -d {out}, then open '
        'localhost:8000. (A webcam needs localhost or https.)'
    )


def main(argv: list[str] | None = None) -> int:
    return run_command(export, argument_parser(), argv)
