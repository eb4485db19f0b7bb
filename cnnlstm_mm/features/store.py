"""Features on disk: safetensors shards and a manifest in JSON.

``DIR/manifest.json`` says what the features were made of (see
:func:`cnnlstm_mm.features.config.fingerprint`), ``DIR/backbone.
safetensors`` holds the weights that made them, and ``DIR/SPLIT/
shard_00000.safetensors`` a fixed number of clips each: a tensor
[views, C, T, h, w] by the clip's number in its list. The header of a shard
names its clips (file, label, what is broken), so that a shard explains itself.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

MANIFEST = 'manifest.json'
BACKBONE = 'backbone.safetensors'


def write_atomically(path: Path, write: Any) -> None:
    """Write a file so that it is there whole or not at all.

    Args:
        path (Path): The file.
        write (callable): Writes to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f'shard_{shard:05d}.safetensors'


def write_shard(folder: Path, shard: int, features: dict[int, Tensor], clips: list[dict]) -> None:
    """Write one shard.

    Args:
        folder (Path): The folder of the split.
        shard (int): Its number.
        features (dict[int, Tensor]): [views, C, T, h, w] by clip number;
            broken clips have none.
        clips (list[dict]): ``index``, ``filename``, ``label`` and, for
            a clip that could not be read, ``broken``, the reason.
    """
    # One key: safetensors writes several in no fixed order.
    metadata = dict(clips=json.dumps(clips))
    tensors = {str(index): t.contiguous() for index, t in features.items()}
    write_atomically(
        shard_path(folder, shard), lambda path: save_file(tensors, str(path), metadata)
    )


def write_manifest(root: Path, manifest: dict) -> None:
    """Write ``manifest.json``."""
    text = json.dumps(manifest, indent=2, sort_keys=True) + '\n'
    write_atomically(root / MANIFEST, lambda path: path.write_text(text))


def read_manifest(root: Path) -> dict:
    """Read ``manifest.json``.

    Raises:
        FileNotFoundError: If there is none; with the cure.
    """
    path = Path(root) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is not there: make the features with '
            f'python tools/extract_features.py CONFIG --out {root}'
        )
    return json.loads(path.read_text())


def state_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and bytes of a state dict."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class FeatureStore:
    """The features of one split, memory-mapped.

    Args:
        root (str or Path): The folder of the store.
        split (str): 'train', 'val' or 'test'.

    Attributes:
        clips (list[dict]): See :func:`write_shard`.

    Raises:
        FileNotFoundError: If the store lacks the split or one of its shards:
            then the extraction did not end.
    """

    def __init__(self, root: Any, split: str) -> None:
        manifest = read_manifest(root)
        if split not in manifest['splits']:
            raise FileNotFoundError(
                f'{root} holds no features of the {split} list, only '
                f'{sorted(manifest["splits"])}: run tools/extract_features.py '
                f'again with --splits {split}'
            )
        entry = manifest['splits'][split]
        self.folder = Path(root) / entry['folder']
        self.shard_clips = manifest['shard_clips']
        count = -(-entry['clips'] // self.shard_clips)
        missing = [shard for shard in range(count) if not shard_path(self.folder, shard).is_file()]
        if missing:
            raise FileNotFoundError(
                f'{self.folder} lacks {len(missing)} of {count} shards, '
                f'{shard_path(self.folder, missing[0]).name} first: the '
                'extraction did not end. Run the same '
                'tools/extract_features.py again; it goes on where it was.'
            )
        self.clips: list[dict] = []
        for shard in range(count):
            with safe_open(shard_path(self.folder, shard), 'pt') as file:
                self.clips += json.loads(file.metadata()['clips'])
        self._files: dict[int, Any] = {}
        self._pid: int | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_files': {}}

    def __deepcopy__(self, memo: dict) -> 'FeatureStore':
        other = object.__new__(type(self))
        other.__dict__.update(self.__getstate__())
        return other

    @property
    def channels(self) -> int:
        """Channels C of the features."""
        whole = next(k for k, clip in enumerate(self.clips) if not clip.get('broken'))
        return self._slice(whole).get_shape()[1]

    def views(self, index: int) -> int:
        """How many views of a clip there are."""
        return self._slice(index).get_shape()[0]

    def read(self, index: int, view: int | None = None) -> Tensor:
        """Read the features of a clip.

        Args:
            index (int): The clip.
            view (int, optional): One of its views. Defaults to None, all.

        Returns:
            Tensor: [views, C, T, h, w], as stored.
        """
        part = self._slice(index)
        return part[:] if view is None else part[view : view + 1]

    def _slice(self, index: int) -> Any:
        if self._pid != os.getpid():  # each worker maps the files itself
            self._files, self._pid = {}, os.getpid()
        shard = index // self.shard_clips
        if shard not in self._files:
            self._files[shard] = safe_open(shard_path(self.folder, shard), 'pt')
        return self._files[shard].get_slice(str(index))
