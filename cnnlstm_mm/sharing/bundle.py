"""Folder of a shared model.

``model.safetensors`` holds the weights, ``config.json`` the config and the class names,
``label_map.txt`` these once more, ``README.md`` the card; ONNX files may lie beside. Nothing in it
is pickled, and reading it runs no code of it.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import _load_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cnnlstm_mm.run_identity import KEY
from cnnlstm_mm.storage import atomic_path, write_json, write_text
from cnnlstm_mm.text import truncate_list
from cnnlstm_mm.version import __version__
from cnnlstm_mm.weights import compare, extract_state_dict, model_id
from mmaction.registry import MODELS

from .portable_config import check_portable, portable_config

WEIGHTS, CONFIG, LABELS, CARD = 'model.safetensors', 'config.json', 'label_map.txt', 'README.md'
FORMAT = 1


class Bundle(NamedTuple):
    """A shared model, read."""

    config: Config
    weights: dict[str, Tensor]
    labels: list[str]
    facts: dict[str, Any]

    def build(self) -> nn.Module:
        """Build the recognizer with its weights, for inference.

        Raises:
            RuntimeError: If the weights do not fit.
        """
        init_default_scope(self.config.get('default_scope', 'mmaction'))
        model = MODELS.build(self.config.model)
        found = compare(self.weights, model, WEIGHTS)
        if found.missing or found.reshaped or found.unexpected:
            raise RuntimeError(f'{WEIGHTS} does not fit {CONFIG}. {found}')
        model.load_state_dict(self.weights, strict=False)  # counters of batch norms may be absent
        return model.eval()


def write_bundle(
    folder: Path, cfg: Config, checkpoint: str, labels: list[str], onnx: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write all files but the card.

    Args:
        folder: Made if it is missing; files of these names are replaced.
        cfg: Of the training.
        checkpoint: Its weights, which must be complete and finite.
        labels: Class names.
        onnx: Exported models to copy.

    Returns:
        Facts that the config holds beside: ``run``, the identity of the training, ``epoch``.

    Raises:
        RuntimeError, ValueError: If the checkpoint does not fit the config, or an ONNX model not
            the checkpoint.
    """
    content = portable_config(cfg, labels)
    loaded = _load_checkpoint(checkpoint, map_location='cpu')
    weights = extract_state_dict(loaded, checkpoint)
    bundle = Bundle(check_portable(content, 'the config'), weights, labels, {})
    model = bundle.build()
    check_onnx(onnx, folder, model_id(model))
    state = model.state_dict()
    meta = loaded.get('meta') or {}
    facts = dict(
        run=(meta.get(KEY) or {}).get('id'), epoch=meta.get('epoch'), iterations=meta.get('iter')
    )
    facts = {key: value for key, value in facts.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as path:
        # Copies: tensors that share memory are refused.
        save_file({name: value.clone().contiguous() for name, value in state.items()}, path)
    about = dict(library_name='cnnlstm_mm', format=FORMAT, version=__version__, **facts)
    write_json(folder / CONFIG, dict(about, labels=labels, config=content), indent=1)
    write_text(folder / LABELS, ''.join(f'{name}\n' for name in labels))
    for source in onnx:
        with atomic_path(folder / source.name) as path:
            shutil.copyfile(source, path)
    return facts


def check_onnx(files: Sequence[Path], folder: Path, model: str) -> None:
    """Raise ValueError unless ONNX files have names of their own and are of a model.

    Args:
        files: The files; those that do not say of which model they are pass.
        folder: Where they will be, without others.
        model: See :func:`cnnlstm_mm.weights.model_id`.
    """
    names = [file.name for file in files]
    for file in files:
        if file.suffix != '.onnx' or names.count(file.name) > 1:
            raise ValueError(
                f'expected ONNX files of different names that end in .onnx, got {file}; fix: '
                'rename it'
            )
        found = _model_of(file)
        if found not in (None, model):
            raise ValueError(
                f'expected an ONNX file of the weights {model}, got {file}, of {found}; fix: '
                'export this checkpoint'
            )
    check_no_other_onnx(folder, names)


def check_no_other_onnx(folder: Path, names: Iterable[str]) -> None:
    """Raise ValueError for an ONNX file in a folder that is not one of these, as of earlier."""
    others = sorted({file.name for file in folder.glob('*.onnx')} - {*names})
    if others:
        raise ValueError(
            f'expected {folder} without other ONNX files, got {truncate_list(others)}, which can '
            'be of other weights; fix: remove them, or name another --out'
        )


def _model_of(file: Path) -> str | None:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError:
        return None
    try:
        entries = onnx.load(str(file), load_external_data=False).metadata_props
    except DecodeError:
        return None
    return next((entry.value for entry in entries if entry.key == 'model_id'), None)


def read_bundle(folder: Path) -> Bundle:
    """Read a folder of :func:`write_bundle`; the model is not built yet.

    Raises:
        FileNotFoundError: If it holds no shared model.
        ValueError: If a file is damaged, of another format, or names what is not registered.
    """
    file = folder / CONFIG
    for path in (file, folder / WEIGHTS):
        if not path.is_file():
            raise FileNotFoundError(
                f'expected a shared model, got {folder} without {path.name}; fix: name a folder '
                'that `cnnlstm-mm push` wrote'
            )
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        labels = [str(name) for name in content['labels']]
        config, number = content['config'], content['format']
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'expected a config of a shared model, got {file} ({type(error).__name__}: {error}); '
            'fix: get it again'
        ) from None
    if number != FORMAT:
        raise ValueError(f'{file}: expected format {FORMAT}, got {number}; fix: update cnnlstm_mm')
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(
            f'expected weights, got {folder / WEIGHTS} ({error}); fix: get it again'
        ) from None
    facts = {key: content[key] for key in ('run', 'epoch', 'iterations') if key in content}
    return Bundle(check_portable(config, str(file)), weights, labels, facts)
