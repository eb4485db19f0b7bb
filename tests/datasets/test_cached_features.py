"""Stored features: the same numbers, byte for byte, or a refusal."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from helpers.support import ROOT, run_forked, run_tool
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from cnnlstm_mm.commands import train
from cnnlstm_mm.engine.launch import check_files
from cnnlstm_mm.engine.list_checks import apply_balanced_weights
from cnnlstm_mm.features import CachedFeatureDataset
from cnnlstm_mm.features.config import use_features
from cnnlstm_mm.features.extraction import FeatureExtractor
from cnnlstm_mm.features.plan import finish_shards, share_shards
from cnnlstm_mm.features.sequence_file import read_sequence
from cnnlstm_mm.models.balanced_losses import balanced_weights
from cnnlstm_mm.storage import locked
from mmaction.registry import DATASETS, MODELS
from mmaction.structures import ActionDataSample


@pytest.fixture(scope='module')
def config(quickstart_data, tmp_path_factory):
    """A config of small videos with fixed, random weights."""
    folder = tmp_path_factory.mktemp('config')
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    model = MODELS.build(cfg.model.backbone)
    torch.manual_seed(0)
    model.init_weights()
    torch.save(model.backbone.state_dict(), folder / 'weights.pth')
    path = folder / 'config.py'
    path.write_text(f"""
_base_ = '{ROOT}/configs/mobilenet_convlstm_quickstart.py'
model = dict(backbone=dict(frozen=True, backbone=dict(init_cfg=dict(
    type='Pretrained', checkpoint='{folder}/weights.pth'))))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    ann_file='{quickstart_data}/quickstart_train_split_1_videos.txt',
    data_prefix=dict(video='{quickstart_data}/videos')))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    ann_file='{quickstart_data}/quickstart_val_split_1_videos.txt',
    data_prefix=dict(video='{quickstart_data}/videos')))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2)
""")
    return path


def extract(config, out, *flags):
    done = run_tool(
        'tools/extract_features.py',
        config,
        '--out',
        out,
        '--shard-clips',
        4,
        '--train-views',
        2,
        '--num-workers',
        2,
        *flags,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def store(config, tmp_path_factory):
    out = tmp_path_factory.mktemp('features') / 'store'
    extract(config, out)
    return out


def contents(store):
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in sorted(store.rglob('*'))
        if path.is_file()
    }


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_bytes(config, store, tmp_path, forks):
    out = tmp_path / 'store'
    process = subprocess.Popen(
        [
            sys.executable,
            'tools/extract_features.py',
            str(config),
            '--out',
            str(out),
            '--shard-clips',
            '4',
            '--train-views',
            '2',
            '--num-workers',
            '2',
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.time() + 120
    while len(list(out.glob('train/shard_*'))) < 2:
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    partial = contents(out)
    assert len(partial) < len(contents(store))
    said = extract(config, out)
    assert 'are already stored' in said
    after = contents(out)
    assert after == contents(store)
    assert all(after[name] == data for name, data in partial.items() if name in after)


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(config, store, tmp_path):
    args = (config, '--out', tmp_path / 'store', '--shard-clips', 4, '--train-views', 2)
    listed = FeatureExtractor.todo

    def late(extractor):
        time.sleep(2 * (os.environ['RANK'] == '1'))
        return listed(extractor)

    done = run_forked(
        'tools/extract_features.py',
        *args,
        '--launcher',
        'pytorch',
        processes=2,
        prepare=lambda: setattr(FeatureExtractor, 'todo', late),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert contents(tmp_path / 'store') == contents(store)


def test_features_are_those_of_the_backbone(config, store):
    """One frame at a time, in evaluation mode, without folding."""
    cfg = Config.fromfile(config)
    dataset = CachedFeatureDataset(store=str(store), split='val', test_mode=True)
    assert len(dataset) == 16
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train(False)
    from mmaction.registry import DATASETS

    videos = DATASETS.build(cfg.val_dataloader.dataset)
    for k in (0, 7):
        data = model.data_preprocessor(dict(inputs=[videos[k]['inputs']], data_samples=[None]))
        frames = data['inputs'][0, 0].transpose(0, 1)  # [T, 3, H, W]
        with torch.no_grad():
            want = torch.stack([model.backbone.backbone(frame[None])[0] for frame in frames], dim=1)
        got = dataset[k]['inputs']
        assert got.dtype == torch.float16 and got.shape[:3] == (1, 64, 16)
        torch.testing.assert_close(got[0].float(), want, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize('dtype, refused', [('float16', True), ('float32', False)])
def test_features_too_large_for_half_precision(config, tmp_path, dtype, refused):
    cfg = Config.fromfile(config)
    extractor = FeatureExtractor(cfg, tmp_path, ['val'], dtype=dtype)
    norm = extractor.model.backbone.backbone.layer5.pointwise_conv
    norm.activate = torch.nn.Identity()
    norm.bn.weight.data.fill_(1e6)
    item = extractor.datasets['val'][0]
    if refused:
        with pytest.raises(ValueError, match=r'v_.*\.avi.*--dtype float32'):
            extractor.features([item])
    else:
        assert extractor.features([item])[0].abs().max() > 65504


def test_training_views_differ_and_the_test_list_is_stored_once(store):
    feature = load_file(store / 'train' / 'shard_00000.safetensors')['0']
    assert feature.shape[:2] == (2, 64)
    assert not (store / 'test').exists()
    assert len(CachedFeatureDataset(store=str(store), split='test')) == 16


def test_a_fold_of_the_stored_training_list(config, store):
    cfg = Config.fromfile(config)
    cfg.feature_rows = dict(train=[0, 3, 5], test=[1, 4])
    use_features(cfg, str(store))
    whole = CachedFeatureDataset(store=str(store), split='train')
    for mode, rows in (('train', [0, 3, 5]), ('val', [1, 4]), ('test', [1, 4])):
        dataset = DATASETS.build(cfg[f'{mode}_dataloader'].dataset)
        assert [item['inputs'].shape[0] for item in dataset] == [1 if mode == 'train' else 2] * len(
            rows
        )
        for k, row in enumerate(rows):
            assert dataset.get_data_info(k)['filename'] == whole.get_data_info(row)['filename']
            stored = whole.store.read(row)[0]
            views = dataset[k]['inputs']
            assert any(torch.equal(views[-1], view) for view in stored)


def test_trained_on_features_tested_on_video(config, store, tmp_path):
    def run(*args):
        done = run_tool(*args)
        assert done.returncode == 0, done.stderr[-3000:]

    work = tmp_path / 'work'
    options = ('--cfg-options', 'model.neck.hidden_channels=8', 'model.cls_head.in_channels=8')
    options += ('model.backbone.frozen=False',)
    run('tools/train.py', config, '--features', store, '--work-dir', work, '--seed', 0, *options)
    (log,) = work.glob('*/*.log')
    assert 'WARNING - model.backbone is not frozen: on videos it would be' in log.read_text()
    merge = ('tools/merge_checkpoint.py', config, work / 'epoch_2.pth', '--features', store)
    merge += ('--out', tmp_path / 'full.pth')
    assert 'fix: name the config and the --cfg-options that' in run_tool(*merge).stderr
    run(*merge, *options)
    run(
        'tools/test.py',
        config,
        tmp_path / 'full.pth',
        '--work-dir',
        work,
        '--dump',
        tmp_path / 'video.pkl',
        *options,
    )
    run(
        'tools/test.py',
        config,
        work / 'epoch_2.pth',
        '--features',
        store,
        '--work-dir',
        work,
        '--dump',
        tmp_path / 'cached.pkl',
        *options,
    )
    video, cached = [
        torch.stack(
            [
                sample['pred_score']
                for sample in pickle.loads((tmp_path / f'{name}.pkl').read_bytes())
            ]
        )
        for name in ('video', 'cached')
    ]
    assert video.shape == (16, 8)
    torch.testing.assert_close(video, cached, rtol=0, atol=1e-2)
    assert torch.equal(video.argmax(1), cached.argmax(1))


@pytest.mark.parametrize(
    'option, words',
    [
        (
            'model.backbone.backbone.widen_factor=0.5',
            'widen_factor: 0.25 in the store, 0.5 in the config',
        ),
        ('model.data_preprocessor.std=[1.,1.,1.]', 'data_preprocessor.std'),
        ('train_dataloader.dataset.pipeline.1.clip_len=8', 'train data.pipeline'),
    ],
)
def test_another_config_is_refused(config, store, tmp_path, option, words):
    if 'widen' in option:
        option = [option, 'model.backbone.backbone.init_cfg=None']
    else:
        option = [option]
    done = run_tool(
        'tools/train.py',
        config,
        '--features',
        store,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *option,
    )
    assert done.returncode != 0 and words in done.stderr, done.stderr[-2000:]


def test_other_weights_are_refused(config, store, tmp_path):
    cfg = Config.fromfile(config)
    checkpoint = cfg.model.backbone.backbone.init_cfg.checkpoint
    state = torch.load(checkpoint)
    state['conv1.conv.weight'][0] += 1e-3
    torch.save(state, tmp_path / 'other.pth')
    done = run_tool(
        'tools/train.py',
        config,
        '--features',
        store,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        f'model.backbone.backbone.init_cfg.checkpoint={tmp_path}/other.pth',
    )
    assert done.returncode != 0 and 'weights: SHA-256' in done.stderr


def test_features_are_those_of_the_checkpoint_to_load(config, store, tmp_path, monkeypatch):
    """As load_from of a training and the checkpoint of a test."""

    def loading(name):
        cfg = Config.fromfile(config)
        cfg.load_from = name and str(tmp_path / name)
        return cfg

    model = MODELS.build(Config.fromfile(config).model)
    torch.manual_seed(7)
    torch.nn.init.normal_(model.backbone.backbone.conv1.conv.weight)
    full = dict(model.state_dict())
    torch.save(dict(state_dict=full), tmp_path / 'other.pth')
    parts = {key: full[key] for key in full if not key.startswith('backbone.')}
    torch.save(dict(state_dict=parts), tmp_path / 'parts.pth')
    kept = {f'backbone.{key}': x for key, x in load_file(store / 'backbone.safetensors').items()}
    torch.save(dict(state_dict=parts | kept), tmp_path / 'same.pth')
    for name in ('same.pth', 'parts.pth'):
        use_features(loading(name), str(store))
    words = r'those of the backbone in .*other.pth\nfix: extract .* --checkpoint .*other.pth'
    with pytest.raises(ValueError, match=words):
        use_features(loading('other.pth'), str(store))
    other = tmp_path / 'store'
    extract(config, other, '--splits', 'val', '--checkpoint', tmp_path / 'other.pth')
    for name in ('other.pth', 'parts.pth', None):  # the last as merge reads the config
        use_features(loading(name), str(other))
    with pytest.raises(ValueError, match='those of the backbone in .*same.pth'):
        use_features(loading('same.pth'), str(other))

    found = []
    monkeypatch.setattr(train.extract, 'extract', lambda args: found.append(args.checkpoint))
    for name in ('other.pth', 'parts.pth'):
        option = f'load_from={tmp_path / name}'
        args = train.argument_parser().parse_args([str(config), '--cfg-options', option])
        train.name_features(args)
        train.cache_features(args)
    assert found == [str(tmp_path / 'other.pth'), None]


def test_a_store_tells_which_clips_and_labels_it_holds(config, quickstart_data, tmp_path):
    """Indices of a data set, and names of classes in another order."""

    def changed(**dataset):
        cfg = Config.fromfile(config)
        cfg.train_dataloader.dataset.update(dataset)
        return cfg

    names = (quickstart_data / 'label_map.txt').read_text().splitlines()
    lines = (quickstart_data / 'quickstart_train_split_1_videos.txt').read_text().splitlines()
    rows = [(path, names[int(label)]) for path, label in map(str.split, lines)]
    named = tmp_path / 'named.csv'
    named.write_text('path,label\n' + ''.join(f'{path},{name}\n' for path, name in rows))
    same = dict(ann_file=str(named), metainfo=dict(classes=names))
    out = tmp_path / 'store'
    some = changed(**same, indices=3)
    extractor = FeatureExtractor(some, out, ['train'], num_workers=0, device='cpu')
    extractor.run(lambda views: None)
    kept = json.loads((out / 'manifest.json').read_text())
    assert len(DATASETS.build(use_features(some, str(out)).train_dataloader.dataset)) == 3
    with pytest.raises(ValueError, match='train data.indices: 3 in the store, null in the config'):
        use_features(changed(**same), str(out))
    other = dict(ann_file=str(named), metainfo=dict(classes=names[::-1]), indices=3)
    with pytest.raises(ValueError, match='train data.labels_sha256'):
        use_features(changed(**other), str(out))
    words = r'with another model and data.splits.train.labels_sha256: .* in the store.*; fix: '
    with pytest.raises(ValueError, match=words):
        FeatureExtractor(changed(**other), out, ['train'], device='cpu').prepare()
    del kept['made_of']['splits']['train']['labels_sha256']  # as stores had none
    (out / 'manifest.json').write_text(json.dumps(kept))
    use_features(changed(**same, indices=3), str(out))
    extractor.prepare()


def test_only_the_lists_that_a_config_has_are_extracted(config, store, tmp_path):
    cfg = Config.fromfile(config)
    cfg.val_dataloader = cfg.test_dataloader = None
    cfg.train_dataloader.dataset.indices = 2
    cfg.dump(tmp_path / 'config.py')
    extract(tmp_path / 'config.py', tmp_path / 'out')
    assert contents(tmp_path / 'out').keys() < contents(store).keys()
    with pytest.raises(ValueError, match='in test_dataloader, got none; fix: --splits train$'):
        FeatureExtractor(cfg, tmp_path / 'other', ['test'])


def test_a_frozen_backbone_is_not_trained(config):
    cfg = Config.fromfile(config)
    assert not train.trains_backbone(cfg)
    cfg.model.backbone.frozen = False
    assert train.trains_backbone(cfg)


def test_balanced_weights_need_no_list(config, quickstart_data, store, tmp_path):
    """A store is used where its lists are not, and a fold counts its own rows."""
    cfg = Config.fromfile(config)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.ann_file = str(tmp_path / 'gone.txt')
    cfg.model.cls_head.loss_cls = dict(type='CrossEntropyLoss', class_weight='balanced')
    rows = [0, 1, 2, 3, 8]
    cfg.merge_from_dict(dict(feature_rows=dict(train=rows, test=[4, 5])))
    use_features(cfg, str(store))
    apply_balanced_weights(cfg, ['train'])
    lines = (quickstart_data / 'quickstart_train_split_1_videos.txt').read_text().splitlines()
    labels = [[int(lines[row].split()[1])] for row in rows]
    weights = cfg.model.cls_head.loss_cls.class_weight
    assert weights == balanced_weights(labels, 8) and len(set(weights)) > 1


def test_an_unfinished_store_is_refused(store, tmp_path):
    import shutil

    shutil.copytree(store, tmp_path / 'store')
    (tmp_path / 'store/val/shard_00001.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match='lacks 1 of 4 shards'):
        CachedFeatureDataset(store=str(tmp_path / 'store'), split='val')


def recognizer(neck):
    return MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(type='PrecomputedFeatures'),
            neck=neck,
            cls_head=dict(type='I3DHead', num_classes=3, in_channels=5, dropout_ratio=0),
            data_preprocessor=dict(type='FeatureDataPreprocessor'),
        )
    )


@pytest.mark.parametrize(
    'neck',
    [
        dict(type='LSTMPoolingNeck', temporal_pool='last'),
        dict(type='LSTMPoolingNeck', temporal_pool='attention'),
        dict(type='ConvLSTMNeck', return_mode='last'),
        dict(type='ConvLSTMNeck', return_mode='mean'),
    ],
    ids=lambda neck: f'{neck["type"]}-{list(neck.values())[1]}',
)
def test_padding_changes_neither_loss_nor_gradients(neck):
    model = recognizer(dict(neck, in_channels=4, hidden_channels=5))
    model.init_weights()
    sequences = [torch.randn(1, 4, steps, 3, 3) for steps in (3, 7, 16)]

    def gradients(chosen):
        model.zero_grad()
        samples = [ActionDataSample().set_gt_label(k) for k in chosen]
        data = model.data_preprocessor(
            dict(inputs=[sequences[k] for k in chosen], data_samples=samples)
        )
        loss = model(**data, mode='loss')['loss_cls']
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters())]

    together = gradients([0, 1, 2])
    alone = [gradients([k]) for k in range(3)]
    for got, parts in zip(together, zip(*alone)):
        torch.testing.assert_close(got, torch.stack(parts).mean(0), rtol=1e-6, atol=1e-6)


def test_sequences_of_every_format_are_read(tmp_path):
    vectors = torch.randn(5, 3)
    np.save(tmp_path / 'a.npy', vectors.numpy())
    save_file(dict(feature=vectors), tmp_path / 'a.safetensors')
    for name, data in (
        ('array', vectors.numpy()),
        ('tensor', vectors),
        ('list', [list(map(float, v)) for v in vectors]),
        ('arrays', [v.numpy() for v in vectors]),
    ):
        (tmp_path / f'{name}.pkl').write_bytes(pickle.dumps(data))
    for path in tmp_path.iterdir():
        got = read_sequence(str(path))
        assert got.shape == (1, 3, 5, 1, 1), path
        torch.testing.assert_close(got[0, :, :, 0, 0].float(), vectors.T)
    maps = torch.randn(5, 3, 2, 4)
    np.save(tmp_path / 'maps.npy', maps.numpy())
    torch.testing.assert_close(read_sequence(str(tmp_path / 'maps.npy'))[0], maps.transpose(0, 1))


class Attack:
    def __reduce__(self):
        return os.system, ('touch /nonexistent/attack',)


def test_what_is_no_sequence_is_refused(tmp_path):
    (tmp_path / 'attack.pkl').write_bytes(pickle.dumps(Attack()))
    with pytest.raises(ValueError, match='attack.pkl.*system.*was not run'):
        read_sequence(str(tmp_path / 'attack.pkl'))
    np.save(tmp_path / 'flat.npy', np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r'flat.npy: expected float .*\(3,\)'):
        read_sequence(str(tmp_path / 'flat.npy'))


def test_a_label_without_an_output_is_refused(config, store):
    cfg = Config.fromfile(config)
    cfg.model.cls_head.num_classes = 3
    use_features(cfg, str(store))
    with pytest.raises(ValueError, match=r'(?s)train, line \d+: label \d of .*num_classes=3'):
        check_files(cfg, ['train'])


def test_the_folder_of_a_store_is_held(config, tmp_path):
    out = tmp_path / 'store'
    with locked(out, 'extract_features'):
        done = run_tool('tools/extract_features.py', config, '--out', out)
        assert done.returncode == 2 and 'in use by extract_features (process' in done.stderr
        assert os.listdir(out) == ['.in_use.json']


def test_shards_that_nobody_made_are_an_error(tmp_path):
    todo = {'train': [0, 2], 'val': []}
    assert share_shards(tmp_path, lambda: todo) == [todo]
    plan = json.loads((tmp_path / 'plan.json').read_text())
    assert plan == dict(shards_by_process=[todo])
    with pytest.raises(RuntimeError, match=r"got none of \{'train': \[2\]\}; fix: start the same"):
        finish_shards(tmp_path, lambda: {'train': [2], 'val': []})
    finish_shards(tmp_path, lambda: {'train': [], 'val': []})
    assert not os.listdir(tmp_path)


def test_a_store_writes_through_no_link(config, tmp_path):
    out, outside = tmp_path / 'store', tmp_path / 'outside'
    out.mkdir()
    outside.mkdir()
    (out / 'train').symlink_to(outside)
    done = run_tool('tools/extract_features.py', config, '--out', out)
    assert done.returncode == 2 and 'where links lead' in done.stderr
    assert not os.listdir(outside)
