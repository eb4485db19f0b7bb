"""A feature store of many shards: few open files, nothing read before it is asked for."""

import os

import pytest
import torch

from cnnlstm_mm.features import CachedFeatureDataset, store
from cnnlstm_mm.features.packed_sample import pack_sample
from mmaction.structures import ActionDataSample


@pytest.fixture
def root(tmp_path):
    """A store of 12 shards of 2 clips, the last of one."""
    for shard in range(12):
        numbers = range(2 * shard, min(2 * shard + 2, 23))
        sample = [pack_sample(ActionDataSample().set_gt_label(k)) for k in numbers]
        clips = [
            dict(index=k, filename=f'{k}.mp4', label=k, views=[view])
            for k, view in zip(numbers, sample)
        ]
        features = {k: torch.full((1, 2, 1, 1, 1), float(k)) for k in numbers}
        store.write_shard(tmp_path / 'train', shard, features, clips)
    splits = dict(train=dict(folder='train', clips=23))
    store.write_manifest(tmp_path, dict(format=store.FORMAT, shard_clips=2, splits=splits))
    return tmp_path


def test_shards_are_opened_when_they_are_read(root, monkeypatch):
    monkeypatch.setattr(store, 'OPEN_SHARDS', 3)
    opened = []
    real = store.safe_open
    monkeypatch.setattr(store, 'safe_open', lambda path, *a: opened.append(path) or real(path, *a))
    data = CachedFeatureDataset(store=str(root), split='train')
    assert len(data) == 23 and not opened
    for k in [*range(23), 0, 22]:
        sample = data[k]
        assert sample['inputs'].unique().tolist() == [k]
        assert sample['data_samples'].gt_label.item() == k
        mapped = {
            line.split()[-1] for line in open(f'/proc/{os.getpid()}/maps') if str(root) in line
        }
        assert len(data.store._shards) <= 3 and len(mapped) <= 3
    assert len(opened) == 13
    assert [info['label'] for info in data.get_subset(3).data_list] == [0, 1, 2]


@pytest.mark.parametrize(
    'text',
    ['', 'null', '[]', '{"format": 2}', '{"format": 2, "shard_clips": 2, "splits": {"train": 3}}'],
)
def test_a_damaged_manifest_is_named(root, text):
    (root / 'manifest.json').write_text(text)
    with pytest.raises(
        ValueError, match='expected the manifest of a feature store, got .*manifest'
    ):
        store.FeatureStore(root, 'train')


def test_missing_shards_are_counted(root):
    for number in (3, 7):
        (root / f'train/shard_{number:05d}.safetensors').unlink()
    with pytest.raises(
        FileNotFoundError, match='lacks 2 of 12 shards, shard_00003.safetensors first'
    ):
        store.FeatureStore(root, 'train')
