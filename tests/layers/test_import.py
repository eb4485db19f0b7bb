"""The layers need PyTorch alone; importing the package still registers everything."""

import pytest
from helpers.fresh_python import fresh_python
from helpers.support import ROOT, run_python

pytestmark = pytest.mark.slow

REGISTERED = """
from mmaction.registry import DATASETS, HOOKS, MODELS
assert 'ConvLSTMNeck' in MODELS.module_dict and 'CachedFeatureDataset' in DATASETS.module_dict
import importlib, mmaction, cnnlstm_mm.models
for module in (mmaction, cnnlstm_mm.models):
    assert module.__spec__.origin.endswith('__init__.py') and importlib.reload(module)
"""


@pytest.fixture
def no_mmaction(tmp_path):
    """Where importing any of MMAction2's packages fails."""
    for name in ('mmengine', 'mmcv', 'mmaction'):
        (tmp_path / f'{name}.py').write_text(f'raise AssertionError("{name} is imported")')
    return tmp_path


def test_layers_need_pytorch_alone(no_mmaction):
    code = """
import sys
from cnnlstm_mm.layers import ConvLSTM
import torch, pickle, cnnlstm_mm
layer = ConvLSTM(2, 3)
layer(torch.zeros(1, 2, 2, 4, 4))[0].sum().backward()
pickle.loads(pickle.dumps(layer))
print(*{name.split('.')[0] for name in sys.modules})
"""
    done = run_python('-c', code, env={'PYTHONPATH': f'{no_mmaction}:{ROOT}'})
    assert done.returncode == 0, done.stderr
    assert not {'mmengine', 'mmcv', 'mmaction', 'cv2'} & set(done.stdout.split())


def test_preparations_need_neither(no_mmaction):
    """The processes that decode videos import the module too, each of them."""
    code = """
import sys
from cnnlstm_mm.commands.prepare import hmdb51, kinetics, probing, quickstart, ucf101
print(*{name.split('.')[0] for name in sys.modules})
"""
    done = run_python('-c', code, env={'PYTHONPATH': f'{no_mmaction}:{ROOT}'})
    assert done.returncode == 0, done.stderr
    assert not {'torch', 'mmengine', 'mmcv', 'mmaction'} & set(done.stdout.split())


@pytest.mark.parametrize(
    'code', ['import cnnlstm_mm; cnnlstm_mm.models', 'import cnnlstm_mm.models']
)
def test_all_else_imports_mmaction(code, no_mmaction):
    done = fresh_python(code, [no_mmaction])
    assert done.returncode and 'AssertionError: mm' in done.stderr


@pytest.mark.parametrize(
    'first',
    [
        'import cnnlstm_mm',
        'import mmaction, cnnlstm_mm',
        'import mmengine, cnnlstm_mm',
        'from cnnlstm_mm.layers import ConvLSTM; import mmengine',
        'from cnnlstm_mm.layers import ConvLSTM',
        'from cnnlstm_mm.layers import ConvLSTM; from cnnlstm_mm.models import necks',
        'import cnnlstm_mm.layers; cnnlstm_mm.models',
        'import cnnlstm_mm.layers; from mmaction.models import Recognizer3D',
    ],
)
def test_everything_is_registered(first):
    done = fresh_python(f'{first}\n{REGISTERED}')
    assert done.returncode == 0, done.stderr


def test_everything_is_registered_in_a_python_of_its_own():
    done = run_python('-c', f'import cnnlstm_mm\n{REGISTERED}', env={'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr


def test_mmengine_imports_where_mmaction2_fails(tmp_path):
    (tmp_path / 'mmaction.py').write_text('raise AssertionError("wrong mmcv")')
    code = 'from cnnlstm_mm.layers import ConvLSTM; import mmengine, mmcv, mmaction'
    done = fresh_python(code, [tmp_path])
    assert done.stderr.rstrip().endswith('AssertionError: wrong mmcv')
    done = fresh_python(code.replace(', mmaction', ''), [tmp_path])
    assert done.returncode == 0, done.stderr
