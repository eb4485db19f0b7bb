"""Share a trained model: as a folder, or on the Hugging Face Hub.

    cnnlstm-mm push CONFIG CHECKPOINT --out FOLDER
    cnnlstm-mm push CONFIG CHECKPOINT --repo USER/NAME --license apache-2.0

Weights as safetensors, the config without paths, the class names and a card with data, protocol and
numbers of the run whose work directory holds the checkpoint. `cnnlstm-mm pull` and
``StreamingRecognizer.from_pretrained`` read it.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, add_label_file, run_command
from cnnlstm_mm.config import check_classifier, read_config, read_labels
from cnnlstm_mm.lab.analysis.complexity import complexity
from cnnlstm_mm.lab.report import read_run
from cnnlstm_mm.lab.report.result import RunResult
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.sharing import upload_bundle, write_bundle, write_card
from cnnlstm_mm.sharing.hub import hub
from cnnlstm_mm.storage import locked


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Share a trained model')
    parser.add_argument('config', help='config file path, or the name of a recipe')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', type=Path, help='the folder to write')
    parser.add_argument('--repo', help='repository to upload to, USER/NAME')
    parser.add_argument(
        '--work-dir', type=Path, help="of the training; default: the checkpoint's folder"
    )
    parser.add_argument('--onnx', nargs='+', type=Path, default=[], help='exported models to add')
    parser.add_argument('--license', help='of the weights, as the Hub spells it: apache-2.0')
    parser.add_argument('--private', action='store_true', help='make a private repository')
    parser.add_argument('--message', help='of the commit')
    add_label_file(parser)
    add_cfg_options(parser)
    return parser


def facts_of(config: str, checkpoint: Path, work_dir: Path | None) -> RunResult | None:
    """Facts of the run that wrote a checkpoint; None if they are not at hand.

    Raises:
        FileNotFoundError: If ``work_dir`` is given and holds no run.
    """
    try:
        run, _ = read_run(work_dir or checkpoint.parent, Path(config).parent, complexity)
    except FileNotFoundError:
        if work_dir is not None:
            raise
        return None
    if run.checkpoint != checkpoint.name:
        run.notes.append(f'the weights are of {checkpoint.name}, the run ended at {run.checkpoint}')
    return run


def push(args: argparse.Namespace) -> None:
    """Write the folder and upload it."""
    if not args.out and not args.repo:
        raise ValueError('expected --out FOLDER or --repo USER/NAME, got neither')
    hub()  # the card needs it
    for file in (Path(args.checkpoint), *args.onnx):
        if not file.is_file():
            raise FileNotFoundError(f'expected a file, got {file}: no such file')
    config = find_config(args.config)
    cfg = read_config(config, cfg_options=args.cfg_options)
    check_classifier(cfg)
    labels = read_labels(cfg, cfg.model.cls_head.num_classes, args.label_file)
    if labels == [f'class {k}' for k in range(len(labels))]:
        print('No class names were found, so classes are numbers; fix: --label-file FILE')
    run = facts_of(config, Path(args.checkpoint), args.work_dir)
    with ExitStack() as stack:
        folder = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(locked(folder, 'push'))
        write_bundle(folder, cfg, args.checkpoint, labels, args.onnx)
        onnx = [file.name for file in args.onnx]
        name = args.repo or folder.name
        write_card(folder, name, labels, run, args.license, onnx)
        if args.out:
            names = sorted(path.name for path in folder.iterdir() if path.name[0] != '.')
            print(f'{folder}: {", ".join(names)}')
        if run is None:
            print('The card reports no results, because no run was found; fix: --work-dir DIR')
        if args.repo:
            print(upload_bundle(folder, args.repo, args.private, args.message))


def main(argv: list[str] | None = None) -> int:
    return run_command(push, argument_parser(), argv)
