"""Shared models: a folder, and a repository of a stand-in for the Hub, give the same scores."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch
import yaml
from helpers.hub import Hub
from helpers.stream_models import OPTIONS, build, config
from helpers.support import ROOT, process_state, run_python
from mmengine.config import Config
from mmengine.registry import init_default_scope
from safetensors.torch import load_file, save_file

from cnnlstm_mm.commands import pull as pull_command
from cnnlstm_mm.commands import push as push_command
from cnnlstm_mm.engine.checkpoint_files import save_checkpoint
from cnnlstm_mm.export import save
from cnnlstm_mm.lab.report.result import RunResult
from cnnlstm_mm.sharing import read_bundle, write_card
from cnnlstm_mm.sharing.portable_config import check_portable, portable_config
from cnnlstm_mm.streaming import StreamingRecognizer

huggingface_hub = pytest.importorskip('huggingface_hub')
LABELS = ['up', 'down', 'left', 'right', 'round']
FRAMES = np.random.default_rng(0).integers(0, 256, (4, 40, 54, 3), np.uint8)
FRESH = """
import sys
import numpy as np
from cnnlstm_mm.streaming import StreamingRecognizer
rec = StreamingRecognizer.from_pretrained(sys.argv[1])
state, scores = None, []
for frame in np.load(sys.argv[2]):
    out, state = rec.step([frame], state)
    scores.append(out.numpy())
np.save(sys.argv[3], np.stack(scores))
print(*rec.labels)
"""


def scores(rec):
    state, found = None, []
    for frame in FRAMES:
        out, state = rec.step([frame], state)
        found.append(np.asarray(out))
    return np.stack(found)


def call(command, *words):
    with process_state():
        return command.main([str(word) for word in words])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config file, checkpoint and class names of a model, and its scores."""
    init_default_scope('mmaction')
    folder = tmp_path_factory.mktemp('trained')
    cfg = config(*OPTIONS['conv_peephole'])
    cfg.data_root = str(folder / 'data')
    cfg.model.backbone.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(folder / 'w.pth'))
    model = build(cfg)
    cfg.dump(folder / 'mine.py')
    save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(epoch=3)), folder / 'epoch_3.pth')
    (folder / 'names.txt').write_text('\n'.join(LABELS))
    want = scores(StreamingRecognizer.from_model(model, cfg))
    assert abs(want[0] - want[-1]).max() > 1e-3
    return folder, want


def push(folder, *words):
    files = (folder / 'mine.py', folder / 'epoch_3.pth', '--label-file', folder / 'names.txt')
    return call(push_command, *files, *words)


@pytest.fixture
def shared_folder(trained, tmp_path):
    assert push(trained[0], '--out', tmp_path / 'shared') == 0
    return tmp_path / 'shared'


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_scores(trained, shared_folder, tmp_path):
    """Bit by bit, without the config file and the checkpoint."""
    np.save(tmp_path / 'frames.npy', FRAMES)
    out = tmp_path / 'scores.npy'
    done = run_python('-c', FRESH, shared_folder, tmp_path / 'frames.npy', out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == LABELS
    np.testing.assert_array_equal(np.load(out), trained[1])


def test_a_pulled_model_runs_as_any_other(trained, shared_folder, tmp_path, capsys):
    out = tmp_path / 'pulled'
    assert call(pull_command, shared_folder, '--out', out) == 0
    assert f'predict {out / "config.py"} {out / "checkpoint.pth"}' in capsys.readouterr().out
    rec = StreamingRecognizer(out / 'config.py', str(out / 'checkpoint.pth'))
    np.testing.assert_array_equal(scores(rec), trained[1])
    assert rec.cfg.test_dataloader.dataset.metainfo.classes == LABELS
    assert rec.cfg.test_pipeline[3].scale == (-1, 36)
    assert (out / 'label_map.txt').read_text().split() == LABELS


def test_the_folder_names_no_file_and_holds_no_pickle(trained, shared_folder):
    names = {path.name for path in shared_folder.iterdir()}
    assert names == {'README.md', 'config.json', 'label_map.txt', 'model.safetensors'}
    text = (shared_folder / 'config.json').read_text()
    assert str(trained[0]) not in text and 'Pretrained' not in text and 'data_root' not in text
    content = json.loads(text)
    assert (content['labels'], content['epoch'], content['format']) == (LABELS, 3, 1)
    weights = torch.load(trained[0] / 'epoch_3.pth')['state_dict']
    found = load_file(shared_folder / 'model.safetensors')
    assert weights.keys() == found.keys()
    assert all(torch.equal(weights[name], found[name]) for name in weights)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A stand-in for the Hub, which the client takes for the real one."""
    hub = Hub()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, 'ENDPOINT', hub.address)
    address = hub.address + '/{repo_id}/resolve/{revision}/{filename}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', address)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('HF_TOKEN', 'of-the-tests')
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    yield hub
    hub.close()


def test_through_the_hub(trained, server, tmp_path, capsys):
    onnx = tmp_path / 'step.onnx'
    onnx.write_bytes(b'exported')
    repo = ('--repo', 'me/model', '--license', 'apache-2.0', '--onnx', onnx, '--private')
    assert push(trained[0], *repo) == 0
    assert f'{server.address}/me/model/commit/' in capsys.readouterr().out
    files = server.repos['me/model']
    assert files['step.onnx'] == b'exported' and 'me/model' in server.private
    card = files['README.md'].decode()
    assert yaml.safe_load(card.split('---')[1])['license'] == 'apache-2.0'
    assert "from_pretrained('me/model')" in card and '`step.onnx`' in card
    rec = StreamingRecognizer.from_pretrained('me/model')
    assert rec.labels == LABELS
    np.testing.assert_array_equal(scores(rec), trained[1])
    with pytest.raises(FileNotFoundError, match='repository me/absent, got 404.*fix: check the'):
        StreamingRecognizer.from_pretrained('me/absent')
    assert push(trained[0], *repo) == 0  # again
    assert push(trained[0], *repo[:2]) == 0  # the ONNX file could be of earlier weights
    assert set(files) == {'README.md', 'config.json', 'label_map.txt', 'model.safetensors'}
    server.close()
    np.testing.assert_array_equal(  # without a network: what was downloaded before
        scores(StreamingRecognizer.from_pretrained('me/model')), trained[1]
    )
    assert push(trained[0], *repo) == 2
    assert 'expected to upload to me/model, got ' in capsys.readouterr().err


def test_onnx_files_are_of_the_weights(trained, tmp_path, capsys):
    folder, out = trained[0], tmp_path / 'out'
    step, other = tmp_path / 'step.onnx', tmp_path / 'other/step.onnx'
    other.parent.mkdir()
    cfg = Config.fromfile(folder / 'mine.py')
    facts = []
    for path, checkpoint in ((step, folder / 'epoch_3.pth'), (other, None)):
        rec = StreamingRecognizer(cfg, checkpoint and str(checkpoint))
        facts.append(rec.model_id)
        node = onnx.helper.make_node('Identity', ['a'], ['b'])
        model = onnx.helper.make_model(onnx.helper.make_graph([node], 'g', [], []))
        save(model, dict(model_id=rec.model_id), path)
    assert facts[0] != facts[1]
    for files, words in (
        ([other], f'of the weights {facts[0]}, got {other}, of {facts[1]}; fix: export this'),
        ([step, other], 'different names that end in .onnx'),
        ([folder / 'names.txt'], 'different names that end in .onnx, got'),
    ):
        assert push(folder, '--out', out, '--onnx', *files) == 2
        assert words in capsys.readouterr().err and not [*out.glob('*.onnx')]
    assert push(folder, '--out', out, '--onnx', step) == 0
    pulled = tmp_path / 'pulled'
    assert (
        call(pull_command, out, '--out', pulled) == 0 == push(folder, '--out', out, '--onnx', step)
    )
    for command in (
        lambda: push(folder, '--out', out),
        lambda: (push(folder, '--out', tmp_path / 'b'), pull(tmp_path / 'b', pulled))[1],
    ):
        assert command() == 2
        assert 'without other ONNX files, got step.onnx' in capsys.readouterr().err


def pull(source, out):
    return call(pull_command, source, '--out', out)


@pytest.mark.parametrize('name', ['mobilenet_convlstm_quickstart', 'mobilenet_lstm_ucf101_mini10'])
def test_recipes_can_be_shared(name):
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    made = check_portable(portable_config(cfg, LABELS), name)
    assert made.model.neck.type == cfg.model.neck.type and 'test_cfg' not in made


def test_frames_are_read_as_in_training():
    facts = dict(filename_tmpl='frame_{:06}.jpg', start_index=0, multi_class=True, num_classes=5)
    data = dict(type='CheckedRawframeDataset', ann_file='/a', data_root='/b', **facts)
    cfg = config(*OPTIONS['lstm'])
    cfg.merge_from_dict(dict(test_dataloader=dict(dataset=data), test_cfg=dict(fp16=True)))
    made = check_portable(portable_config(cfg, LABELS), 'it')
    dataset = made.test_dataloader.dataset
    assert {name: dataset[name] for name in facts} == facts and made.test_cfg.fp16
    assert '/a' not in str(made) and '/b' not in str(made)
    cfg.test_dataloader.dataset.type = 'CachedFeatureDataset'
    with pytest.raises(ValueError, match='got one of stored features; fix: join'):
        portable_config(cfg, LABELS)


@pytest.mark.parametrize(
    'key, value',
    [
        ('type', 'os.system'),
        ('type', 'mmengine.dump'),
        ('type', 'subprocess.run'),
        ('init_cfg', dict(type='Pretrained', checkpoint='/etc/passwd')),
        ('pretrained', 'https://example.org/w.pth'),
    ],
)
def test_a_config_from_elsewhere_builds_only_what_is_registered(shared_folder, key, value):
    path = shared_folder / 'config.json'
    content = json.loads(path.read_text())
    content['config']['model']['backbone']['backbone'][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f'config.json: expected .*{key}'):
        StreamingRecognizer.from_pretrained(shared_folder)


def test_damaged_folders_are_named(shared_folder, tmp_path):
    weights, path = shared_folder / 'model.safetensors', shared_folder / 'config.json'
    whole, text = weights.read_bytes(), path.read_text()
    weights.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match='expected weights, got .*model.safetensors.*get it again'):
        read_bundle(shared_folder)
    weights.write_bytes(whole)
    state = load_file(weights)
    save_file({k: v for k, v in state.items() if 'conv1' not in k}, weights)
    with pytest.raises(RuntimeError, match='does not fit config.json. Missing keys: '):
        read_bundle(shared_folder).build()
    path.write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(ValueError, match='expected format 1, got 2; fix: update'):
        read_bundle(shared_folder)
    path.write_text(text[:50])
    with pytest.raises(ValueError, match='config of a shared model, got .*config.json'):
        read_bundle(shared_folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match='without config.json; fix: name a folder'):
        StreamingRecognizer.from_pretrained(shared_folder)
    with pytest.raises(FileNotFoundError, match='a folder or a repository such as user/model'):
        StreamingRecognizer.from_pretrained(tmp_path / 'absent')


def test_the_card_holds_the_facts_of_the_run(tmp_path):
    run = RunResult(
        work_dir='w',
        config='configs/mine.py',
        data='UCF101',
        notes=['a part of the test list: 100 of 3783 clips'],
        split=1,
        seed=7,
        frames='uniform 8',
        resolution='112x112',
        protocol='1 clip x 1 crop',
        backbone='MobileNetV2',
        neck='LSTM 256',
        pretrain='ImageNet',
        epochs=3,
        max_epochs=5,
        top1=0.8125,
        mean_class=0.8,
        params=3_800_000,
        flops=687_000_000,
        per_class=dict(up=0.9, down=0.25, left=1.0),
    )
    write_card(tmp_path, 'me/model', LABELS, run)
    _, head, text = (tmp_path / 'README.md').read_text().split('---\n', 2)
    (entry,) = yaml.safe_load(head)['model-index']
    metrics = {m['type']: m['value'] for result in entry['results'] for m in result['metrics']}
    assert metrics == dict(top1=81.25, mean_class=80.0)
    for words in (
        '| top-1 accuracy | 81.2 % |',
        'tested with 1 clip x 1 crop, uniform 8 frames of 112x112',
        '- a part of the test list: 100 of 3783 clips',
        '- 3 of 5 epochs, unfinished',
        'down (25 %)',
        '| parameters | 3,800,000 |',
        'one of its 5 classes',
    ):
        assert words in text, words
    write_card(tmp_path, 'model', LABELS)
    assert 'are not recorded' in (tmp_path / 'README.md').read_text()


def test_nothing_is_written_without_the_library_of_the_card(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    assert push(trained[0], '--out', tmp_path / 'out') == 2
    assert 'pip install huggingface_hub' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_wrong_arguments(trained, tmp_path, capsys):
    assert push(trained[0]) == 2
    assert 'expected --out FOLDER or --repo USER/NAME' in capsys.readouterr().err
    assert push(trained[0], '--out', tmp_path / 'o', '--onnx', tmp_path / 'absent.onnx') == 2
    assert 'absent.onnx: no such file' in capsys.readouterr().err
    assert not (tmp_path / 'o').exists()
    assert call(pull_command, tmp_path / 'absent') == 2
    assert 'expected a folder or a repository' in capsys.readouterr().err
