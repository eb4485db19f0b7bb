"""Reader of files that Keras saved, without Keras: with h5py, zipfile and json."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnnlstm_mm.text import natural_key

# A MobileNet's layers: the names in a .weights.h5 file, which counts the
# layers of each class, and the names that keras.applications gives them.
SAVED_AS = {
    'conv2d': 'conv1',
    'batch_normalization': 'conv1_bn',
    'depthwise_conv2d': 'conv_dw_1',
    **{f'conv2d_{i}': f'conv_pw_{i}' for i in range(1, 14)},
    **{f'depthwise_conv2d_{i - 1}': f'conv_dw_{i}' for i in range(2, 14)},
    **{f'batch_normalization_{2 * i - 1}': f'conv_dw_{i}_bn' for i in range(1, 14)},
    **{f'batch_normalization_{2 * i}': f'conv_pw_{i}_bn' for i in range(1, 14)},
}
MOBILENET_LAYERS = tuple(SAVED_AS.values())

MEMBERS = {'config.json', 'metadata.json', 'model.weights.h5'}


class KerasFile(NamedTuple):
    """Content of a file.

    Attributes:
        arrays: each layer's weights in Keras's order. The layers of a MobileNet have
            keras.applications' names, wherever in the model it sits; the others are outermost
            layers, each with all that it holds.
        config: class_name and config of the model; None for a file of weights alone.
        version: Keras's version, '' if unknown.
    """

    arrays: dict[str, list[np.ndarray]]
    config: dict[str, Any] | None
    version: str


def read_keras_file(path: Path) -> KerasFile:
    """Read a .keras, .weights.h5 or legacy .h5 file; its content decides which.

    Raises:
        FileNotFoundError: if the file does not exist.
        ImportError: if h5py is not installed.
        ValueError: if Keras did not save it, or it is cut short.

    Source: keras/src/saving/saving_lib.py and legacy/legacy_h5_format.py.
    """
    if not path.is_file():
        raise FileNotFoundError(f'expected a file of Keras, got {path}: no such file')
    try:
        import h5py
    except ImportError as error:
        raise ImportError('reading Keras weights needs h5py: pip install h5py') from error
    content: Any = path
    config, version = None, ''
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if not MEMBERS <= set(members):
                raise ValueError(
                    f'expected a .keras file with {sorted(MEMBERS)}, got {path}, a zip archive '
                    f'with {members[:5]}'
                )
            config = json.loads(archive.read('config.json'))
            metadata = json.loads(archive.read('metadata.json'))
            version = metadata['keras_version']
            content = io.BytesIO(archive.read('model.weights.h5'))
    elif not h5py.is_hdf5(path):
        raise ValueError(
            f'expected a .keras or HDF5 file, got {path}, which begins with '
            f'{path.read_bytes()[:16]!r}; fix: save the model by model.save("model.keras") or '
            'model.save_weights("model.weights.h5")'
        )
    try:
        with h5py.File(content, 'r') as file:
            root = file.get('model_weights', file)
            if 'layer_names' in root.attrs:
                arrays = _read_legacy(root)
                version = _text(root.attrs.get('keras_version', ''))
                if 'model_config' in file.attrs:
                    config = json.loads(file.attrs['model_config'])
            else:
                arrays = _read_tree(file)
    except OSError as error:
        raise ValueError(f'{path} is damaged or cut short: {error}') from error
    return KerasFile(arrays, config, version)


def _read_legacy(root: Any) -> dict[str, list[np.ndarray]]:
    arrays: dict[str, list[np.ndarray]] = {}
    for layer in map(_text, root.attrs['layer_names']):
        for weight in map(_text, root[layer].attrs['weight_names']):
            # '.../conv_pw_1/kernel:0' inside the group of the outermost layer
            owner = weight.split('/')[-2] if '/' in weight else layer
            if owner not in MOBILENET_LAYERS:
                owner = layer
            arrays.setdefault(owner, []).append(root[layer][weight][()])
    return arrays


def _read_tree(file: Any) -> dict[str, list[np.ndarray]]:
    datasets = {}
    file.visititems(
        lambda name, item: datasets.update({name: item}) if hasattr(item, 'shape') else None
    )
    paths = sorted(datasets, key=_order)
    inner = '/depthwise_conv2d/vars/0'
    mobilenet = next((p[: -len(inner)] for p in paths if p.endswith(inner)), '')
    arrays: dict[str, list[np.ndarray]] = {}
    for path in paths:
        if path.startswith('optimizer/') or 'seed_generator' in path:
            continue
        owner, _, _ = path.partition('/vars/')
        parent, _, saved_as = owner.rpartition('/')
        if parent == mobilenet and saved_as in SAVED_AS:
            name = SAVED_AS[saved_as]
        else:
            name = owner.removeprefix('layers/').split('/')[0]
        arrays.setdefault(name, []).append(datasets[path][()])
    return arrays


def _order(path: str) -> list[tuple[int, str]]:
    """Sort key: numbers by value, a Bidirectional's forward layer first, layers of frames first."""
    path = path.replace('/backward_layer/', '/forward_layer~/')
    framewise = '0' if path.startswith('layers/time_distributed') else '1'
    return [(0, framewise), *natural_key(path)]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
