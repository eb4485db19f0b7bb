"""Features on disk: safetensors shards and a manifest in JSON.

``DIR/manifest.json`` says what the features were made of (see
:func:`cnnlstm_mm.features.config.fingerprint`), ``DIR/backbone.safetensors`` holds the weights
that made them, and ``DIR/SPLIT/shard_00000.safetensors`` a fixed number of clips each: a tensor
[rows, C, T, h, w] by the clip's number in its list. The header of a shard names its clips (file,
label, the data samples of its views, or why it is broken), so that a shard explains itself.
"""

import json
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cnnlstm_mm.storage import atomic_path, write_json
from mmaction.structures import ActionDataSample

from .packed_sample import unpack_sample

MANIFEST = 'manifest.json'
BACKBONE = 'backbone.safetensors'
OPEN_SHARDS = 256  # of a split and process
SHARD = re.compile(r'shard_(\d{5,12})\.safetensors')
FORMAT = 2  # 1 had one label a clip, whatever the pipeline had made of it


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f'shard_{shard:05d}.safetensors'


def write_shard(folder: Path, shard: int, features: dict[int, Tensor], clips: list[dict]) -> None:
    """Write one shard.

    Args:
        folder: Of the split.
        shard: Its number.
        features: [rows, C, T, h, w] by clip number; broken clips have none.
        clips: ``index``, ``filename`` and ``label`` (of the list) of each clip, and ``views``,
            :func:`pack_sample` of each view, or ``broken``, why it could not be read.
    """
    # One key: safetensors writes several in no fixed order.
    metadata = dict(clips=json.dumps(clips))
    tensors = {str(index): t.contiguous() for index, t in features.items()}
    with atomic_path(shard_path(folder, shard)) as path:
        save_file(tensors, str(path), metadata)


def write_manifest(root: Path, manifest: dict) -> None:
    """Write ``manifest.json``."""
    write_json(root / MANIFEST, manifest, indent=2, sort_keys=True)


def read_manifest(root: str | Path) -> dict:
    """Read ``manifest.json``.

    Raises:
        FileNotFoundError: If it is missing; with the cure.
        ValueError: If an earlier version wrote the store.
    """
    path = Path(root) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f'expected a feature store, got {path}: no such file; fix: make the features with '
            f'cnnlstm-mm extract CONFIG --out {root}'
        )
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(manifest, dict):
        raise _damaged(path, 'its value is not an object')
    if manifest.get('format') != FORMAT:
        raise ValueError(
            f'expected a feature store of format {FORMAT}, got {root} of format '
            f'{manifest.get("format")}, in which each view has the label of the list even if a '
            'transform such as Flip(flip_label_map=...) changes it; fix: extract the features '
            'again into another folder with cnnlstm-mm extract'
        )
    return manifest


def _damaged(path: Path, error: object) -> ValueError:
    return ValueError(
        f'expected the manifest of a feature store, got {path} ({error}); fix: extract the '
        'features again into another folder with cnnlstm-mm extract'
    )


class FeatureStore:
    """The features of one split, memory-mapped.

    Args:
        root: The folder of the store.
        split: 'train', 'val' or 'test'.

    Attributes:
        clips (Sequence[dict]): See :func:`write_shard`.

    Raises:
        FileNotFoundError: If the store lacks the split or one of its shards: then the
            extraction did not end.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        manifest = read_manifest(root)
        splits, shard_clips = manifest.get('splits'), manifest.get('shard_clips')
        if not isinstance(splits, dict) or type(shard_clips) is not int or shard_clips < 1:
            raise _damaged(Path(root) / MANIFEST, 'splits or shard_clips are not as written')
        if split not in splits:
            raise FileNotFoundError(
                f'expected features of the {split} list in {root}, got only '
                f'{sorted(splits)}; fix: run cnnlstm-mm extract again with '
                f'--splits {split}'
            )
        entry = splits[split] if isinstance(splits[split], dict) else {}
        if type(entry.get('clips')) is not int or not isinstance(entry.get('folder'), str):
            raise _damaged(Path(root) / MANIFEST, f'the {split} split is not as written')
        self.folder = Path(root) / entry['folder']
        self.shard_clips = shard_clips
        count = -(-entry['clips'] // self.shard_clips)
        there = os.listdir(self.folder) if self.folder.is_dir() else []
        numbers = {int(found[1]) for found in map(SHARD.fullmatch, there) if found}
        lacking = count - sum(number < count for number in numbers)
        if lacking > 0:
            first = next(number for number in range(count) if number not in numbers)
            raise FileNotFoundError(
                f'expected {count} shards in {self.folder}, which lacks {lacking} of {count} '
                f'shards, {shard_path(self.folder, first).name} first: the extraction did not '
                'end; fix: run the same cnnlstm-mm extract again, it resumes'
            )
        self.clips = StoredClips(self, entry['clips'])
        self._shards: OrderedDict[int, tuple[Any, list[dict]]] = OrderedDict()
        self._pid: int | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_shards': OrderedDict()}

    def __deepcopy__(self, memo: dict) -> 'FeatureStore':
        other = object.__new__(type(self))
        other.__dict__.update(self.__getstate__())
        other.clips = StoredClips(other, len(self.clips))
        return other

    @property
    def channels(self) -> int:
        """Channels C of the features."""
        whole = next(k for k, clip in enumerate(self.clips) if not clip.get('broken'))
        return self._slice(whole).get_shape()[1]

    def rows(self, index: int) -> int:
        """Rows of a clip: its views times the clips and crops of each."""
        return self._slice(index).get_shape()[0]

    def read(self, index: int, row: int | None = None) -> tuple[Tensor, ActionDataSample]:
        """Read the features of a clip, [rows, C, T, h, w] as stored, or one row of them.

        Returns:
            The features, and the data sample of the row's view, or of the first view.
        """
        part, clip = self._slice(index), self.clips[index]
        view = 0 if row is None else row * len(clip['views']) // self.rows(index)
        sample = unpack_sample(clip['views'][view])
        sample.set_metainfo(dict(filename=clip['filename']))
        return part[:] if row is None else part[row : row + 1], sample

    def _slice(self, index: int) -> Any:
        return self.shard(index // self.shard_clips)[0].get_slice(str(index))

    def shard(self, number: int) -> tuple[Any, list[dict]]:
        """Open a shard, or take one of the ``OPEN_SHARDS`` used last; its file and its clips."""
        if self._pid != os.getpid():  # each worker maps the files itself
            self._shards, self._pid = OrderedDict(), os.getpid()
        if number not in self._shards:
            file = safe_open(shard_path(self.folder, number), 'pt')
            self._shards[number] = file, json.loads(file.metadata()['clips'])
            if len(self._shards) > OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards.move_to_end(number)
        return self._shards[number]


class StoredClips(Sequence):
    """Entries of the clips of a split, read from the shards when they are asked for."""

    def __init__(self, store: FeatureStore, count: int) -> None:
        self.store, self.number = store, count

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.number:
            raise IndexError(f'expected a clip below {self.number}, got {index}')
        shard, place = divmod(index, self.store.shard_clips)
        return self.store.shard(shard)[1][place]
