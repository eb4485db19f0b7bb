"""A neck in a user's own file does all that ours do, with no other file touched."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import gru_neck
from helpers.necks import neck_config
from helpers.support import ROOT, run_forked
from mmengine.config import Config
from safetensors.torch import load_file

from cnnlstm_mm.models import fit
from mmaction.registry import MODELS

pytestmark = pytest.mark.slow

FILE = Path(gru_neck.__file__)
GRU = "type='GRUNeck', hidden_channels=24"


@pytest.fixture(scope='module')
def user(quickstart_data, tmp_path_factory):
    """A folder with the user's neck and two configs of it."""
    folder = tmp_path_factory.mktemp('user')
    shutil.copy(FILE, folder / 'my_necks.py')

    def write(name, base, neck, more=''):
        (folder / name).write_text(f"""
_base_ = '{ROOT}/configs/{base}'
custom_imports = dict(imports=['cnnlstm_mm', 'my_necks'], allow_failed_imports=False)
model = dict(neck=dict(_delete_=True, {neck}), backbone=dict(frozen=True))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    ann_file='{quickstart_data}/quickstart_train_split_1_videos.txt',
    data_prefix=dict(video='{quickstart_data}/videos')))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    ann_file='{quickstart_data}/quickstart_val_split_1_videos.txt',
    data_prefix=dict(video='{quickstart_data}/videos')))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
{more}""")

    write('gru_mean.py', 'mobilenet_convlstm_quickstart.py', f"{GRU}, temporal_pool='mean'")
    write(
        'gru_stream.py',
        'mobilenet_convlstm_stream_quickstart.py',
        f"{GRU}, temporal_pool='sequence', tbptt_len=8, carry_prob=0.5",
    )
    return folder


def tool(user, name, *args):
    """Call a tool where GRUNeck is registered by custom_imports alone."""

    def prepare():
        MODELS.module_dict.pop('GRUNeck')
        sys.path.insert(0, str(user))

    done = run_forked(f'tools/{name}', *args, prepare=prepare)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope='module')
def trained(user):
    """Work directory of an epoch of training and a test."""
    work = user / 'work'
    tool(user, 'train.py', user / 'gru_mean.py', '--work-dir', work)
    checkpoint = work / 'epoch_1.pth'
    tool(user, 'test.py', user / 'gru_mean.py', checkpoint, '--work-dir', work)
    return work


def test_it_is_short():
    assert len(FILE.read_text().splitlines()) <= 40


def test_trains_and_stands_in_the_report(user, trained):
    table = tool(user, 'report.py', trained)
    assert 'GRU 24' in table


def test_truncated_training(user):
    work = user / 'stream'
    tool(user, 'train.py', user / 'gru_stream.py', '--work-dir', work)
    assert (work / 'epoch_1.pth').is_file()


def test_the_feature_store_keeps_means(user, trained):
    store = user / 'store'
    config = user / 'gru_mean.py'
    checkpoint = trained / 'epoch_1.pth'
    tool(user, 'extract_features.py', config, '--checkpoint', checkpoint, '--out', store)
    manifest = json.loads((store / 'manifest.json').read_text())
    assert manifest['made_of']['pool'] == 'avg'
    shard = load_file(next(store.glob('*/shard_*')))
    assert {tuple(t.shape[2:]) for t in shard.values()} == {(16, 1, 1)}
    tool(user, 'train.py', config, '--features', store, '--work-dir', user / 'cached')
    weights = torch.load(user / 'cached/epoch_1.pth', weights_only=True)['state_dict']
    assert weights['neck.gru.weight_ih_l0'].shape[1] == shard.popitem()[1].shape[1]


@pytest.mark.parametrize('mode', ['step', 'clip'])
def test_exports(user, trained, mode):
    out = user / f'{mode}.onnx'
    args = (user / 'gru_mean.py', trained / 'epoch_1.pth', '--mode', mode, '--out', out)
    assert 'largest difference' in tool(user, 'export_onnx.py', *args).lower()
    assert out.is_file()


def test_streams(user, trained, quickstart_data):
    video = next((quickstart_data / 'videos').rglob('*.avi'))
    out = user / 'scores.jsonl'
    tool(
        user, 'stream_demo.py', video, user / 'gru_mean.py', trained / 'epoch_1.pth', '--json', out
    )
    assert len(out.read_text().splitlines()) > 10


def refusal(name, backbone):
    model = dict(type='Recognizer3D', backbone=backbone, neck=neck_config(name))
    with pytest.raises(ValueError) as caught:
        fit.check_fit(Config(dict(model=model)).model)
    return str(caught.value).replace(name, 'NECK')


@pytest.mark.parametrize('backbone', [dict(type='C3D'), dict(type='ResNet', depth=18)])
def test_is_refused_as_ours_are(backbone):
    assert refusal('GRUNeck', backbone) == refusal('ConvLSTMNeck', backbone)


def recognizer2d(name):
    model = MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=dict(type='MobileNetV2', widen_factor=0.1, out_indices=(6, 7)),
            neck=neck_config(name, channels=1280),
            cls_head=dict(type='TSNHead', num_classes=2, in_channels=4),
        )
    )
    with pytest.raises(TypeError) as caught:
        model(torch.randn(1, 3, 3, 32, 32), mode='tensor', stage='neck')
    return str(caught.value).replace(name, 'NECK')


def test_is_refused_in_recognizer2d_as_ours_are():
    assert recognizer2d('GRUNeck') == recognizer2d('ConvLSTMNeck')
