"""Stored views: each with the label and the rest of what its pipeline packed."""

import json

import numpy as np
import pytest
import torch
from helpers.support import ROOT
from mmengine.config import Config
from mmengine.structures import InstanceData

from cnnlstm_mm.features import CachedFeatureDataset
from cnnlstm_mm.features.config import use_features
from cnnlstm_mm.features.extraction import FeatureExtractor
from cnnlstm_mm.features.packed_sample import pack_sample, unpack_sample
from mmaction.registry import DATASETS
from mmaction.structures import ActionDataSample

SWAP = {0: 1, 1: 0}


@pytest.fixture
def cfg(quickstart_data, tmp_path):
    """A config of eight small videos, whose transforms change the label at random."""
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    lines = (quickstart_data / 'quickstart_train_split_1_videos.txt').read_text().splitlines()
    (tmp_path / 'list.txt').write_text('\n'.join(lines[:8]) + '\n')
    cfg.merge_from_dict(
        {
            'model.backbone.frozen': True,
            'train_dataloader.dataset.ann_file': str(tmp_path / 'list.txt'),
            'train_dataloader.dataset.data_prefix.video': f'{quickstart_data}/videos',
        }
    )
    flip = dict(type='Flip', flip_ratio=0.5, flip_label_map=SWAP)
    cfg.train_dataloader.dataset.pipeline.insert(-2, flip)
    cfg.train_dataloader.dataset.pipeline[-1].update(
        meta_keys=('flip', 'img_shape', 'frame_inds'), algorithm_keys=('crop_quadruple',)
    )
    return cfg


def extract(cfg, out, views=4):
    done = []
    FeatureExtractor(cfg, out, ['train'], train_views=views, num_workers=0, shard_clips=3).run(
        done.append
    )
    return sum(done)


def test_a_view_has_the_label_of_its_own_transforms(cfg, tmp_path):
    extract(cfg, tmp_path / 'store')
    data = CachedFeatureDataset(store=str(tmp_path / 'store'), split='train')
    seen = set()
    for index in range(8):
        listed = data.get_data_info(index)['label']
        assert listed == index and data.store.rows(index) == 4
        for row in range(4):
            feature, sample = data.store.read(index, row)
            assert torch.equal(feature[0], data.store.read(index)[0][row])
            wanted = SWAP.get(listed, listed) if sample.flip else listed
            assert sample.gt_label.tolist() == [wanted]
            assert sample.img_shape == (64, 64) and sample.filename.endswith('.avi')
            assert sample.frame_inds.tolist() == list(range(16))
            seen.add((listed, wanted))
    assert {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)} <= seen
    drawn = {data[0]['data_samples'].gt_label.item() for _ in range(50)}
    assert drawn == {0, 1}


def test_lists_with_tabs_blanks_and_several_labels(cfg, tmp_path, quickstart_data):
    dataset = cfg.train_dataloader.dataset
    lines = (tmp_path / 'list.txt').read_text().splitlines()
    (tmp_path / 'my videos').mkdir()
    rows = [([0, 3], 'a b.avi'), ([5], 'c d.avi'), ([], 'e.avi'), ([1, 2], 'broken.avi')]
    for (_, name), line in zip(rows, lines):
        target = tmp_path / 'my videos' / name
        target.write_bytes((quickstart_data / 'videos' / line.split()[0]).read_bytes())
    (tmp_path / 'my videos/broken.avi').write_bytes(b'no video')
    (tmp_path / 'list.txt').write_text(
        ''.join('\t'.join([name, *map(str, labels)]) + '\n' for labels, name in rows)
    )
    dataset.update(delimiter='\t', multi_class=True, num_classes=8)
    dataset.data_prefix.video = str(tmp_path / 'my videos')
    dataset.pipeline = [t for t in dataset.pipeline if t['type'] != 'Flip']
    extract(cfg, tmp_path / 'store', views=1)
    data = CachedFeatureDataset(store=str(tmp_path / 'store'), split='train', test_mode=True)
    videos = DATASETS.build(dict(dataset, test_mode=True))
    for index, (labels, _) in enumerate(rows):
        got = data[index]['data_samples'].gt_label
        assert got.nonzero().flatten().tolist() == labels and got.shape == (8,)
        assert torch.equal(got, videos[index]['data_samples'].gt_label)
        assert data.get_cat_ids(index) == videos.get_cat_ids(index) == labels
    assert 'broken.avi' in data[3]['data_samples'].broken[0][0]


def test_data_sets_around_the_videos_stay(cfg, tmp_path):
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=3,
        dataset=dict(type='ClassBalancedDataset', oversample_thr=0.01, dataset=inner),
    )
    videos = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(videos) == 24
    extract(cfg, tmp_path / 'store', views=1)
    cfg.val_dataloader = cfg.test_dataloader = None
    features = DATASETS.build(use_features(cfg, tmp_path / 'store').train_dataloader.dataset)
    assert len(features) == 24
    assert features[9]['data_samples'].filename == videos[9]['data_samples'].filename
    assert features[9]['inputs'].shape[:2] == (1, 64)
    assert features.dataset.dataset.store is not None


def test_two_lists_of_a_split_are_refused(cfg, tmp_path):
    inner = cfg.train_dataloader.dataset
    both = [inner, dict(inner, ann_file='other.txt')]
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=both)
    with pytest.raises(
        ValueError, match=r'one list in train_dataloader, got .*list.txt, other.txt'
    ):
        extract(cfg, tmp_path / 'store')


def test_blended_clips_are_refused_by_name(cfg, tmp_path):
    blending = dict(type='MixupBlending', num_classes=8)
    cfg.model.data_preprocessor.blending = blending
    with pytest.raises(
        ValueError, match=r'blending: expected None.*got MixupBlending.*blending=None'
    ):
        extract(cfg, tmp_path / 'store')
    cfg.model.data_preprocessor.blending = None
    extract(cfg, tmp_path / 'store', views=1)
    cfg.model.data_preprocessor.blending = blending
    with pytest.raises(ValueError, match='MixupBlending'):
        use_features(cfg, tmp_path / 'store')


def test_a_store_of_one_label_a_clip_is_refused(cfg, tmp_path):
    extract(cfg, tmp_path / 'store', views=1)
    manifest = tmp_path / 'store/manifest.json'
    manifest.write_text(json.dumps(dict(json.loads(manifest.read_text()), format=1)))
    with pytest.raises(ValueError, match='format 1.*flip_label_map'):
        CachedFeatureDataset(store=str(tmp_path / 'store'), split='train')


def test_what_json_lacks_comes_back_or_is_named():
    sample = ActionDataSample().set_gt_label(torch.tensor([0.0, 1.0]))
    sample.set_field(torch.tensor([1, 2], dtype=torch.int16), 'steps')
    sample.set_metainfo(
        dict(
            filename='a.avi', box=(1, (2.5, None)), inds=np.array([[3]], np.int32), deep={'a': [1]}
        )
    )
    got = unpack_sample(json.loads(json.dumps(pack_sample(sample))))
    assert got.gt_label.dtype == torch.float32 and got.gt_label.tolist() == [0.0, 1.0]
    assert got.steps.dtype == torch.int16 and got.steps.tolist() == [1, 2]
    assert got.box == (1, (2.5, None)) and got.deep == {'a': [1]}
    assert got.inds.dtype == np.int32 and got.inds.tolist() == [[3]]
    sample.gt_instances = InstanceData()
    with pytest.raises(ValueError, match='InstanceData for a.avi.*PackActionInputs'):
        pack_sample(sample)
