"""Folder of a shared model.

``model.safetensors`` holds the weights, ``config.json`` the config and the class names,
``label_map.txt`` these once more, ``README.md`` the card; ONNX files may lie beside. Nothing in it
is pickled, and reading it runs no code of it.
"""

import json
import shutil
from collections.abc import Iterable
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
from cnnlstm_mm.version import __version__
from cnnlstm_mm.weights import compare, extract_state_dict
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
    folder: Path, cfg: Config, checkpoint: str, labels: list[str], onnx: Iterable[Path] = ()
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
        RuntimeError, ValueError: If the checkpoint does not fit the config.
    """
    content = portable_config(cfg, labels)
    loaded = _load_checkpoint(checkpoint, map_location='cpu')
    weights = extract_state_dict(loaded, checkpoint)
    bundle = Bundle(check_portable(content, 'the config'), weights, labels, {})
    state = bundle.build().state_dict()
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
