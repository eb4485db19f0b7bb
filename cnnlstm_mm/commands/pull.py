"""Get a shared model, of a folder or of the Hugging Face Hub, for all other commands.

cnnlstm-mm pull USER/NAME --out DIR
cnnlstm-mm predict DIR/config.py DIR/checkpoint.pth VIDEO
"""

import argparse
import shutil
from pathlib import Path

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.engine.checkpoint_files import save_checkpoint
from cnnlstm_mm.sharing import fetch_bundle, read_bundle
from cnnlstm_mm.sharing.bundle import CARD, LABELS, check_no_other_onnx
from cnnlstm_mm.storage import atomic_path, locked, write_text


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Get a shared model')
    parser.add_argument('name', help='a folder of `cnnlstm-mm push`, or a repository USER/NAME')
    parser.add_argument('--out', type=Path, help='the folder to write; default: models/NAME')
    parser.add_argument('--revision', help='branch, tag or commit of the repository')
    return parser


def pull(args: argparse.Namespace) -> None:
    """Fetch and check it; write config, checkpoint, class names, card and ONNX files."""
    source = fetch_bundle(args.name, args.revision)
    bundle = read_bundle(source)
    bundle.build()  # the weights fit
    out = args.out or Path('models') / Path(args.name).name
    onnx = [file.name for file in source.glob('*.onnx')]
    check_no_other_onnx(out, onnx)
    with locked(out, 'pull'):
        out.mkdir(parents=True, exist_ok=True)
        cfg = bundle.config
        cfg.custom_imports = dict(imports=['cnnlstm_mm'], allow_failed_imports=False)
        write_text(out / 'config.py', cfg.pretty_text)
        save_checkpoint(dict(state_dict=bundle.weights, meta=bundle.facts), out / 'checkpoint.pth')
        for name in (LABELS, CARD, *onnx):
            if (source / name).is_file() and source.resolve() != out.resolve():
                with atomic_path(out / name) as path:
                    shutil.copyfile(source / name, path)
    print(
        f'{out}: {len(bundle.labels)} classes\n'
        f'cnnlstm-mm predict {out / "config.py"} {out / "checkpoint.pth"} VIDEO'
    )


def main(argv: list[str] | None = None) -> int:
    return run_command(pull, argument_parser(), argv)
