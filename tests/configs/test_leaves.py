"""Leaf configs: backbone x neck x recipe, as the table of tools/make_recipes.py lists them."""

import importlib.util
import re
import shutil
from itertools import product

import pytest
from helpers.recipes import BASE, LEAVES, RECIPES, load, merged
from helpers.support import ROOT

spec = importlib.util.spec_from_file_location('make_recipes', ROOT / 'tools/make_recipes.py')
make_recipes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_recipes)


def test_the_table_lists_every_recipe():
    assert set(make_recipes.make_table()) == set(LEAVES)


def test_every_exception_applies(monkeypatch):
    table = make_recipes.make_table()
    for pattern in make_recipes.EXCEPTIONS:
        others = {k: v for k, v in make_recipes.EXCEPTIONS.items() if k != pattern}
        with monkeypatch.context() as patch:
            patch.setattr(make_recipes, 'EXCEPTIONS', others)
            assert make_recipes.make_table() != table, pattern


def test_the_leaves_are_what_the_table_gives(capsys):
    assert make_recipes.main(['--check']) == 0, capsys.readouterr().out


def test_leaves_that_differ_are_named_and_written(tmp_path, monkeypatch, capsys):
    for name in LEAVES:
        shutil.copy(ROOT / f'configs/{name}.py', tmp_path)
    monkeypatch.setattr(make_recipes, 'CONFIGS', tmp_path)
    (tmp_path / 'metafile.yml').write_text(make_recipes.make_metafile())
    edited, absent = tmp_path / f'{LEAVES[3]}.py', tmp_path / f'{LEAVES[-1]}.py'
    original = edited.read_text()
    edited.write_text(original + "model['neck'] = None\n")
    absent.unlink()
    assert make_recipes.main(['--check']) == 1
    out = capsys.readouterr().out
    assert out.count('differs: ') == 2 and str(edited) in out and str(absent) in out
    assert 'expected the configs of the table' in out and 'got 2 that differ; fix: ' in out
    assert edited.read_text() != original and not absent.exists(), '--check must write nothing'
    assert make_recipes.main([]) == 0
    assert capsys.readouterr().out.count('written: ') == 2
    assert edited.read_text() == original and absent.is_file()
    assert make_recipes.main(['--check']) == 0


@pytest.mark.slow
@pytest.mark.parametrize('name', LEAVES)
def test_leaf_is_backbone_neck_and_recipe(name):
    text = (ROOT / f'configs/{name}.py').read_text()
    files = re.findall(r"'_base_/(\w+)/(\w+)\.py'", text)
    assert [folder for folder, _ in files] == ['backbones', 'necks', 'recipes']
    backbone, neck, recipe = (
        load(BASE / folder / f'{file}.py').to_dict() for folder, file in files
    )
    assert set(backbone) <= {'model', 'weights_help'} and set(neck) == {'neck_part'}
    model = merged(backbone['model'], neck['neck_part'], recipe.pop('recipe_part'))
    cfg = load(ROOT / f'configs/{name}.py').to_dict()
    assert cfg.pop('weights_help', None) == backbone.get('weights_help')
    assert cfg.pop('model') == model
    first = re.sub(r'_\w+_residual', '_avgpool', name.replace('_egogestar', '_gestures'))
    assert cfg.pop('starts_from', None) == (None if first == name else f'{first}.py')
    assert cfg == recipe
    channels = backbone['model']['cls_head']['in_channels']
    assert channels == backbone['model']['neck']['in_channels']
    assert (model['neck'] or model['cls_head'])['in_channels'] == channels


def test_a_config_of_ones_own(tmp_path):
    leaf = load(ROOT / 'configs/mobilenetv2_lstm_ucf101.py')
    narrow = merged(
        leaf.to_dict(), dict(model=dict(neck=dict(hidden_channels=8), cls_head=dict(in_channels=8)))
    )
    leaf.merge_from_dict({'model.neck.hidden_channels': 8, 'model.cls_head.in_channels': 8})
    assert leaf.to_dict() == narrow
    path = tmp_path / 'inherits.py'
    path.write_text(
        f"_base_ = '{ROOT}/configs/mobilenetv2_lstm_ucf101.py'\n"
        'model = dict(neck=dict(hidden_channels=8), cls_head=dict(in_channels=8))'
    )
    assert load(path).to_dict() == narrow
    load(path).dump(tmp_path / 'dumped.py')
    assert load(tmp_path / 'dumped.py').to_dict() == narrow


@pytest.mark.parametrize('page', ['README.md', 'docs/guide/configs.md'])
def test_the_config_of_the_readme(page, tmp_path):
    code = re.search(r'```python\n(_base_ = \[\n.*?)```', (ROOT / page).read_text(), re.S)[1]
    path = tmp_path / 'readme.py'
    path.write_text(code.replace("'configs/", f"'{ROOT}/configs/"))
    wanted = load(ROOT / 'configs/resnet50_convlstm_ucf101.py').to_dict()
    narrow = dict(neck=dict(hidden_channels=128), cls_head=dict(in_channels=128))
    assert load(path).to_dict() == merged(wanted, dict(model=narrow))


@pytest.mark.parametrize('name', ['quickstart', 'ucf101_mini10'])
def test_a_neck_is_added_to_an_averaging_config(tmp_path, name):
    path = tmp_path / 'neck.py'
    path.write_text(
        f"_base_ = '{ROOT}/configs/mobilenetv2_avgpool_{name}.py'\n"
        "model = dict(neck=dict(type='LSTMPoolingNeck', in_channels=8, hidden_channels=4))"
    )
    assert load(path).model.neck.hidden_channels == 4


def test_the_guide_names_every_recipe_and_no_other():
    rows = re.findall(
        r'^\| `\{(\w+)\}` \| (.*) \|$', (ROOT / 'docs/guide/configs.md').read_text(), re.M
    )
    assert [part for part, _ in rows] == ['backbone', 'neck', 'data']
    assert set(product(*(re.findall('`([^`]+)`', names) for _, names in rows))) == set(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize('data', ['ucf101', 'hmdb51', 'kinetics400', 'weizmann'])
def test_recipes_of_one_data_set_differ_in_the_model_alone(data, monkeypatch):
    monkeypatch.setenv('CNNLSTM_MM_SPLIT', '2')
    seen = {}
    for backbone, neck, _ in [r for r in RECIPES if r[2] == data]:
        cfg = load(ROOT / f'configs/{backbone}_{neck}_{data}.py')
        frames = cfg.test_pipeline[1].clip_len
        assert cfg.test_dataloader.dataset.pipeline == cfg.test_pipeline
        rest = {
            name: cfg[name]
            for name in (
                'optim_wrapper',
                'param_scheduler',
                'train_cfg',
                'train_dataloader',
                'val_dataloader',
                'test_dataloader',
            )
        }
        assert seen.setdefault(frames, rest) == rest
        neck_cfg = cfg.model.neck or {}
        assert neck_cfg.get('type') == dict(avgpool=None, lstm='LSTMPoolingNeck').get(
            neck, 'ConvLSTMNeck'
        )
        assert neck_cfg.get('gate_conv', 'full') == (
            'depthwise' if neck == 'lightconvlstm' else 'full'
        )
        assert neck_cfg.get('hidden_channels', 256) == 256
        if neck == 'lstm':
            assert neck_cfg.temporal_pool == ('last' if backbone == 'mobilenet' else 'mean')
        assert cfg.model.backbone.frozen == (data == 'weizmann')
        backbones = dict(
            mobilenet='MobileNetV1',
            mobilenetv2='MobileNetV2',
            mobilenetv2tsm='MobileNetV2TSM',
            resnet50='ResNet',
            efficientnetlite0='timm.tf_efficientnet_lite0',
        )
        assert cfg.model.backbone.backbone.type == backbones[backbone]
        split = cfg.train_dataloader.dataset.ann_file
        assert data == 'kinetics400' or 'train_split_2_' in split
    assert set(seen) == ({8} if data == 'weizmann' else {8, 32})
