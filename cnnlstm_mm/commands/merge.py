"""Merge a neck and a head that were trained on stored features with their backbone.

cnnlstm-mm merge CONFIG CHECKPOINT --features DIR --out FULL.pth
cnnlstm-mm test CONFIG FULL.pth
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.runner.checkpoint import _load_checkpoint
from safetensors.torch import load_file

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.engine.checkpoint_files import save_checkpoint
from cnnlstm_mm.engine.launch import load_config
from cnnlstm_mm.features.config import check_fingerprint
from cnnlstm_mm.features.store import BACKBONE, read_manifest
from cnnlstm_mm.run_identity import KEY
from cnnlstm_mm.weights import check_no_nan
from mmaction.registry import MODELS


def merge(cfg: Config, checkpoint: str, store: str) -> dict:
    """Join a checkpoint of neck and head with the backbone of a store.

    Args:
        cfg (Config): The config that the store was made with.
        checkpoint (str): A checkpoint trained on the store.
        store (str): Folder written by ``cnnlstm-mm extract``.

    Returns:
        dict: ``state_dict`` of the whole recognizer, and ``meta``.

    Raises:
        ValueError: If the store, the config and the checkpoint do not belong
            together; names the differences.
    """
    check_fingerprint(cfg, read_manifest(store), store)
    loaded = _load_checkpoint(checkpoint, map_location='cpu')
    state = dict(loaded.get('state_dict', loaded))
    if any(key.startswith('backbone.') for key in state):
        raise ValueError(
            f'expected a checkpoint trained on features, got {checkpoint}, which has a backbone; '
            'fix: test it as it is'
        )
    for key, value in load_file(str(Path(store) / BACKBONE)).items():
        state[f'backbone.{key}'] = value
    model = MODELS.build(cfg.model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f'expected a checkpoint of this config, got {checkpoint}: {error}\nfix: name the '
            'config and the --cfg-options that it was trained with'
        ) from None
    check_no_nan(model, checkpoint)
    meta = {
        key: loaded['meta'][key]
        for key in ('epoch', 'iter', 'seed', 'dataset_meta', 'vocabulary', KEY)
        if key in loaded.get('meta', {})
    }
    return dict(state_dict=state, meta=meta)


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Make a full checkpoint from one trained on stored features'
    )
    parser.add_argument('config', help='config that reads videos')
    parser.add_argument('checkpoint', help='checkpoint trained with --features')
    parser.add_argument('--features', required=True, help='folder of the feature store')
    parser.add_argument('--out', required=True, help='the file to write')
    add_cfg_options(parser, 'the config, as in its training')
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)  # of load_config
    return parser


def write(args: argparse.Namespace) -> None:
    """Merge and save."""
    cfg = load_config(args)
    merged = merge(cfg, args.checkpoint, args.features)
    save_checkpoint(merged, args.out)
    print(f'{args.out}: cnnlstm-mm test {args.config} {args.out}')


def main(argv: list[str] | None = None) -> int:
    return run_command(write, argument_parser(), argv)
