"""Recipes through mmengine's names; those of other packages as before."""

import importlib
import importlib.util
from pathlib import Path

import pytest
from mmengine.config import utils
from mmengine.hub import get_config
from mmengine.utils import get_installed_path, is_installed

import cnnlstm_mm
from cnnlstm_mm import config_hub


@pytest.fixture
def mim(tmp_path, monkeypatch):
    """The package with a folder .mim, as it is installed."""
    home = tmp_path / 'cnnlstm_mm'
    (home / '.mim').mkdir(parents=True)
    root = Path(cnnlstm_mm.__file__).parents[1]
    for part in ('configs', 'model-index.yml'):
        (home / '.mim' / part).symlink_to(root / part)
    for module in ('mmengine.config.config', 'mmengine.hub.hub'):
        monkeypatch.setattr(f'{module}.get_installed_path', lambda package: str(home))
        if hasattr(importlib.import_module(module), 'install_package'):
            monkeypatch.setattr(f'{module}.install_package', lambda package: None)


def test_recipes_by_name(mim, tmp_path):
    cfg = get_config('cnnlstm_mm::mobilenet_convlstm_ucf101.py')
    assert cfg.model.neck.type == 'ConvLSTMNeck'
    assert get_config('cnnlstm_mm::_base_/default_runtime.py').default_scope == 'mmaction'
    own = tmp_path / 'own.py'
    own.write_text("_base_ = 'cnnlstm_mm::mobilenet_lstm_ucf101.py'\nsplit = 2")
    from mmengine.config import Config

    assert Config.fromfile(own).model.neck.type == 'LSTMPoolingNeck'


def test_names_of_other_packages_are_as_before():
    find = utils._get_package_and_cfg_path
    assert find('mmdet::rcnn/a.py') == ('mmdet', 'rcnn/a.py')
    assert find('mmseg::rcnn/a.py') == ('mmsegmentation', 'rcnn/a.py')
    with pytest.raises(ValueError, match='specify the package name'):
        find('mmdet::a.py')
    with pytest.raises(AssertionError, match='does not support to load unknown'):
        find('unknown::b/a.py')
    config_hub.provide_configs()
    assert utils._get_package_and_cfg_path is find  # once


def test_places_without_pkg_resources():
    if importlib.util.find_spec('pkg_resources') is not None:
        assert get_installed_path.__module__ == 'mmengine.utils.package_utils'
    for package, module in (
        ('mmaction2', 'mmaction'),
        ('mmcv-lite', 'mmcv'),
        ('mmengine', 'mmengine'),
    ):
        home = importlib.util.find_spec(module).origin
        assert config_hub.installed_path(package) == str(Path(home).parent)
        assert is_installed(package)
    with pytest.raises(ModuleNotFoundError, match='pip install no-such-package'):
        config_hub.installed_path('no-such-package')
    assert not config_hub.is_installed('no-such-package')
