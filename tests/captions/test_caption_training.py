"""Captioners in the tools: train, resume, test, features, caption, and every recipe."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.caption_models import build, captions, clips, config
from helpers.recipes import CAPTION_CONFIGS, load
from helpers.support import ROOT, run_tool
from mmengine.config import Config

from cnnlstm_mm.captions.attention_figure import Attention, attention_figure
from cnnlstm_mm.captions.inference import windows
from cnnlstm_mm.captions.vocabulary import META, Vocabulary
from cnnlstm_mm.captions.vocabulary_hook import VocabularyHook
from cnnlstm_mm.commands import caption
from cnnlstm_mm.config import nested_dicts
from cnnlstm_mm.engine.launch import check_files
from cnnlstm_mm.models.fit import check_channels, check_fit
from cnnlstm_mm.text import subtitles
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

RECIPE = ROOT / 'configs/mobilenet_lstm_caption_quickstart.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The built-in data with a few clips in each list; val has a word that training lacks."""
    out = tmp_path_factory.mktemp('captions')
    args = ['--train-scenes', 1, '--val-scenes', 1, '--heldout-scenes', 1]
    args += ['--size', 32, '--frames', 4, '--workers', 1]
    done = run_tool('tools/data/make_caption_quickstart.py', '--out', out, *args)
    assert done.returncode == 0, done.stderr
    for split, count in dict(train=6, val=3, heldout=3).items():
        path = out / f'captions_{split}.jsonl'
        lines = path.read_text().splitlines()[:count]
        path.write_text('\n'.join(lines) + '\n')
    train = (out / 'captions_train.jsonl').read_text()
    first = train.splitlines()[0]
    odd = json.dumps(['a zebra ' * 10])
    first = re.sub(r'"captions": \[.*\]', f'"captions": {odd}', first)
    (out / 'captions_train.jsonl').write_text('\n'.join([first, *train.splitlines()[1:]]) + '\n')
    return out


@pytest.fixture(scope='module')
def recipe(data, tmp_path_factory):
    """The recipe on these clips, narrow, for two epochs."""
    path = tmp_path_factory.mktemp('config') / 'captioner.py'
    cfg = load(RECIPE)
    text = cfg.pretty_text.replace('data/caption_quickstart', str(data))
    cfg = Config.fromstring(text, '.py')
    cfg.model.backbone.backbone.widen_factor = 0.125
    cfg.model.neck.update(in_channels=64, hidden_channels=8)
    cfg.model.cls_head.update(
        embed_channels=8, hidden_channels=8, attention_channels=8, in_channels=64
    )
    for mode in ('train', 'val', 'test'):
        loader = cfg[f'{mode}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=3)
        for step in loader.dataset.pipeline:
            if step['type'] == 'SampleFrames':
                step['clip_len'] = 4
            if step['type'] == 'Resize':
                step['scale'] = (32, 32)
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.randomness = dict(seed=1)
    cfg.dump(path)
    return path


def tool(name, *args, code=0):
    done = run_tool(f'tools/{name}.py', *args)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope='module')
def trained(recipe, tmp_path_factory):
    """The work directory of a whole training, and what it printed."""
    out = tmp_path_factory.mktemp('run')
    done = tool('train', recipe, '--work-dir', out)
    return out, done.stdout + done.stderr


def state(path):
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.slow
def test_a_training_is_told_of_words_and_keeps_its_vocabulary(trained, data):
    out, said = trained
    assert '1 words are not in the vocabulary' in said and 'zebra (10)' in said
    assert '1 captions were cut to max_words=14' in said
    assert 'val caption/' in said and ' caption/CIDEr-D ' in said
    assert ' loss ' in said and ' word_acc ' in said
    (log,) = out.glob('*/*.log')
    assert 'loss_caption' in log.read_text()
    meta = torch.load(out / 'epoch_2.pth', weights_only=True)['meta']
    assert meta[META] == (data / 'vocabulary.json').read_text()


def test_more_cut_captions_are_told_beside_fewer_unknown_words(monkeypatch):
    """They were compared as a pair, in which the number of words decided."""
    vocabulary = SimpleNamespace(unknown=Counter(), describe_unknown=lambda: 'words')
    head, said = SimpleNamespace(cut=0, max_words=3, vocabulary=vocabulary), []
    runner = SimpleNamespace(
        model=SimpleNamespace(cls_head=head),
        logger=SimpleNamespace(info=lambda text, **kwargs: said.append(text)),
    )
    hook = VocabularyHook()
    for words, cut in (('a b', 1), ('a', 1), ('a', 5), ('a', 5)):
        vocabulary.unknown.update(words.split())
        head.cut = cut
        hook.after_train_epoch(runner)
    assert said == [f'words. {cut} captions were cut to max_words=3.' for cut in (1, 5)]


def test_a_training_resumes_to_the_bit(recipe, trained, tmp_path):
    out, _ = trained
    tool('train', recipe, '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=1')
    tool('train', recipe, '--work-dir', tmp_path, '--resume')
    want, have = state(out / 'epoch_2.pth'), state(tmp_path / 'epoch_2.pth')
    assert all(torch.equal(value, have[name]) for name, value in want.items())


def test_another_vocabulary_is_refused(recipe, trained, tmp_path):
    made = Vocabulary.build(['b a'])
    (tmp_path / 'v.json').write_text(made.text)
    option = f'model.cls_head.vocabulary={tmp_path / "v.json"}'
    done = tool('test', recipe, trained[0] / 'epoch_2.pth', '--cfg-options', option, code=2)
    assert 'does not fit' in done.stderr or 'words' in done.stderr
    words = Vocabulary(recipe_vocabulary(recipe)).words
    words[-1], words[-2] = words[-2], words[-1]
    content = json.loads(made.text)
    content['model']['vocab'] = {word: k for k, word in enumerate(words)}
    (tmp_path / 'v.json').write_text(json.dumps(content))
    done = tool('test', recipe, trained[0] / 'epoch_2.pth', '--cfg-options', option, code=2)
    assert (
        'of model.cls_head.vocabulary' in done.stderr and 'fix: name the vocabulary' in done.stderr
    )


def recipe_vocabulary(recipe):
    return Config.fromfile(recipe).model.cls_head.vocabulary


def test_a_missing_vocabulary_is_named(recipe, tmp_path):
    cfg = Config.fromfile(recipe)
    cfg.model.cls_head.vocabulary = str(tmp_path / 'absent.json')
    with pytest.raises(FileNotFoundError, match=r'(?s)absent\.json.*fix: '):
        check_files(cfg, ['train'])


def test_captions_of_test_and_caption_are_the_same(recipe, trained, data, tmp_path):
    checkpoint = trained[0] / 'epoch_2.pth'
    option = f'test_evaluator.out_dir={tmp_path}'
    tool('test', recipe, checkpoint, '--work-dir', tmp_path, '--cfg-options', option)
    tested = json.loads((tmp_path / 'captions.json').read_text())['clips']
    assert len(tested) == 3 and all(len(one['references']) == 5 for one in tested)
    files = [one['file'] for one in tested]
    jsonl = tmp_path / 'c.jsonl'
    done = tool('caption', *files, recipe, checkpoint, '--jsonl', jsonl, '--workers', 0)
    rows = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert [row['file'] for row in rows] == files
    for row, one in zip(rows, tested):
        assert row['captions'][0]['caption'] == one['caption']
        assert f'{row["file"]}: {one["caption"]}' in done.stdout
    args = ['--beam', 4, '--n-best', 3, '--no-repeat', 2, '--jsonl', jsonl, '--workers', 0]
    tool('caption', files[0], recipe, checkpoint, *args)
    (row,) = map(json.loads, jsonl.read_text().splitlines())
    best = [one['log_prob'] for one in row['captions']]
    assert len(best) == 3 and best == sorted(best, reverse=True)


def test_long_videos_are_cut_into_windows(recipe, trained, data, tmp_path):
    checkpoint = trained[0] / 'epoch_2.pth'
    video = (
        data
        / 'videos'
        / json.loads((data / 'captions_val.jsonl').read_text().splitlines()[0])['video']
    )
    broken = tmp_path / 'broken.avi'
    broken.write_bytes(b'RIFF')
    args = ['--window', 0.25, '--srt', tmp_path, '--jsonl', tmp_path / 'c.jsonl', '--workers', 0]
    done = tool('caption', video, broken, recipe, checkpoint, *args, code=3)
    assert f'BROKEN {broken}' in done.stderr
    rows = [json.loads(line) for line in (tmp_path / 'c.jsonl').read_text().splitlines()]
    assert [(row['start'], row['end']) for row in rows] == [(0.0, 0.25), (0.25, 0.5)]
    text = (tmp_path / f'{video.stem}.srt').read_text()
    assert text.startswith(
        f'1\n00:00:00,000 --> 00:00:00,250\n{rows[0]["captions"][0]["caption"]}\n'
    )
    parts = list(windows(str(video), 0.25))
    assert [frames for frames, _ in parts] == [(0, 2), (2, 4)]
    assert [frames for frames, _ in windows(str(video), 0.4)] == [(0, 4)], 'no crumb at the end'
    assert '01:01:01,500 --> 01:01:02,000' in subtitles([(3661.5, 3662.0, 'x')])


def test_the_attention_is_drawn(recipe, trained, data, tmp_path):
    out = tmp_path / 'a.png'
    args = [recipe, trained[0] / 'epoch_2.pth', '--out', out, '--clips', 2]
    done = tool('analysis/attention', data / 'videos', *args)
    assert out.read_bytes().startswith(b'\x89PNG') and done.stdout.count('.avi: ') == 2


@pytest.mark.parametrize('frames, columns', [(4, 2), (20, 1)])
def test_the_frames_of_the_picture_keep_their_shape(frames, columns):
    clip = Attention(
        np.zeros((frames, 30, 20, 3), np.uint8), list('abc'), np.full((3, frames), 1 / frames)
    )
    figure = attention_figure([clip] * 3)
    figure.draw_without_rendering()
    assert len({round(axes.get_position().x0, 2) for axes in figure.axes}) == columns
    for axes in figure.axes:
        top = axes.get_ylim()[1]
        (left, up), (right, low) = axes.transData.transform([(0, top), (1, 0)])
        assert (up - low) / (right - left) == pytest.approx(30 / 20, rel=1e-3)


@pytest.mark.parametrize('frozen', [True])
def test_features_give_the_captions_of_the_videos(recipe, data, tmp_path, frozen):
    """Extract, train, merge, test: as on the videos; the captions are drawn anew each epoch."""
    cfg = Config.fromfile(recipe)
    cfg.model.backbone.frozen = frozen
    path = tmp_path / 'frozen.py'
    cfg.dump(path)
    store = tmp_path / 'store'
    tool('extract_features', path, '--out', store, '--num-workers', 0, '--dtype', 'float32')
    tool('train', path, '--features', store, '--work-dir', tmp_path / 'run')
    merged = tmp_path / 'merged.pth'
    tool(
        'merge_checkpoint', path, tmp_path / 'run/epoch_2.pth', '--features', store, '--out', merged
    )
    assert META in torch.load(merged, weights_only=True)['meta']
    found = []
    for name, args in dict(videos=[merged], stored=[merged, '--features', store]).items():
        options = ['--cfg-options', f'test_evaluator.out_dir={tmp_path / name}']
        if name == 'stored':
            args[0] = tmp_path / 'run/epoch_2.pth'
        tool('test', path, *args, '--work-dir', tmp_path / name, *options)
        found.append(json.loads((tmp_path / name / 'captions.json').read_text()))
    assert found[0]['scores'] == pytest.approx(found[1]['scores'])
    for a, b in zip(*(one['clips'] for one in found)):
        assert (a['file'], a['caption'], a['references']) == (
            b['file'],
            b['caption'],
            b['references'],
        )


def test_a_broken_clip_counts_as_wrong(recipe, trained, data, tmp_path):
    lines = (data / 'captions_heldout.jsonl').read_text().splitlines()[:2]
    (tmp_path / 'videos').mkdir()
    names = [json.loads(line)['video'] for line in lines]
    (tmp_path / 'videos' / names[0]).write_bytes((data / 'videos' / names[0]).read_bytes())
    (tmp_path / 'videos' / names[1]).write_bytes(b'RIFF')
    (tmp_path / 'c.jsonl').write_text('\n'.join(lines))
    options = [
        f'test_dataloader.dataset.ann_file={tmp_path / "c.jsonl"}',
        f'test_dataloader.dataset.data_prefix.video={tmp_path / "videos"}',
        f'test_evaluator.out_dir={tmp_path}',
    ]
    args = [recipe, trained[0] / 'epoch_2.pth', '--work-dir', tmp_path, '--cfg-options', *options]
    done = run_tool('tools/test.py', *args)
    assert done.returncode and names[1] in done.stdout + done.stderr
    tool('test', *args, 'default_hooks.broken_videos.count_as_wrong=True')
    second = json.loads((tmp_path / 'captions.json').read_text())['clips'][1]
    assert second['caption'] == '' and second['exact_match'] == 0
    assert second['references'] == json.loads(lines[1])['captions']


@pytest.mark.parametrize('name', ['predict', 'export_onnx'])
def test_tools_of_recognizers_name_those_of_captions(recipe, trained, name):
    mode = dict(export_onnx=['--mode', 'step']).get(name, ['v.avi'])
    done = tool(name, recipe, trained[0] / 'epoch_2.pth', *mode, code=2)
    assert 'got a CaptionHead, which writes sentences; fix: cnnlstm-mm caption' in done.stderr


def test_a_config_without_captions_is_refused(trained):
    config = ROOT / 'configs/mobilenet_convlstm_quickstart.py'
    done = tool('caption', 'v.avi', config, trained[0] / 'epoch_2.pth', code=2)
    assert 'whose cls_head is a CaptionHead, got I3DHead' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('path', CAPTION_CONFIGS, ids=lambda path: path.stem)
def test_recipe_trains_one_step(path, data):
    cfg = load(path)
    assert cfg.model.type == 'VideoCaptioner' and cfg.test_pipeline
    cfg.model.cls_head.vocabulary = str(data / 'vocabulary.json')
    check_fit(cfg.model)
    for node in nested_dicts(cfg.model):
        if 'pretrained' in node:
            node['pretrained'] = None
        node.pop('init_cfg', None)
    pipeline = {t.type: t for t in cfg.test_pipeline}
    side = 48 if 'CenterCrop' in pipeline else pipeline['Resize'].scale[0]
    model = MODELS.build(cfg.model).train()
    check_channels(model)
    samples = [ActionDataSample(metainfo=dict(caption='a red square')) for _ in range(2)]
    inputs = list(torch.randint(0, 256, (2, 1, 3, 3, side, side), dtype=torch.uint8))
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)
    model(**data, mode='loss')['loss_caption'].backward()
    frozen = bool(cfg.model.backbone.get('frozen'))
    for name, parameter in model.named_parameters():
        trained = not (frozen and name.startswith('backbone.'))
        assert (parameter.grad is not None) == trained, name


def test_mixed_precision():
    model = build(config())
    with torch.autocast('cpu', torch.bfloat16):
        found = captions(model, clips(2))
    assert all(one[0]['caption'] for one in found)


def test_films_of_one_name_have_subtitles_each(tmp_path):
    names = ['day1/cam0/film.mp4', 'day2/cam0/film.mp4', 'day2/cam0/film.avi', 'day2/other.mp4']
    rows = [dict(file=n, start=0.0, end=1.0, captions=[dict(caption=n)]) for n in names]
    caption.write(SimpleNamespace(jsonl=None, n_best=1, srt=tmp_path), rows)
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob('*.srt')}
    wanted = [*(f'{name}.srt' for name in names[:3]), 'other.srt']
    assert sorted(found) == sorted(wanted)
    assert all(name in found[path].read_text() for name, path in zip(names, wanted))
