"""Each fix: the break shows without it and is gone with it."""

import configparser
import json
import os
import pickle
import re
import sys
import textwrap
import types

import numpy as np
import pytest
import torch
from helpers.support import ROOT, run_python
from mmengine.config import Config
from mmengine.hooks import LoggerHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from packaging.requirements import Requirement

from cnnlstm_mm import compat
from cnnlstm_mm.engine import CPUAmpOptimWrapper
from mmaction.datasets.transforms import ColorJitter
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample


def python(code):
    return run_python('-c', textwrap.dedent(code))


def requirements():
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    lines = setup['options']['install_requires'].splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    return {r.name: r for r in found}


def test_models_import_only_with_the_stub():
    broken = python('import mmaction.models')
    if broken.returncode == 0:
        pytest.skip('this MMAction2 has mmaction.models.localizers.drn')
    assert 'mmaction.models.localizers.drn' in broken.stderr
    mended = python('import cnnlstm_mm, mmaction.models')
    assert mended.returncode == 0, mended.stderr


def test_drn_stub_says_where_drn_is():
    if getattr(sys.modules['mmaction.models.localizers.drn'], '__file__', None):
        pytest.skip('this MMAction2 has mmaction.models.localizers.drn')
    with pytest.raises(ImportError, match='git repository'):
        MODELS.build(dict(type='DRN'))


def test_stub_leaves_a_whole_mmaction_alone(tmp_path):
    folder = tmp_path / 'mmaction' / 'models' / 'localizers' / 'drn'
    folder.mkdir(parents=True)
    (tmp_path / 'mmaction' / '__init__.py').touch()
    done = python(f"""
        import importlib.util, sys
        sys.path.insert(0, {str(tmp_path)!r})
        spec = importlib.util.spec_from_file_location(
            'compat', {str(ROOT / 'cnnlstm_mm' / 'compat.py')!r})
        compat = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(compat)
        compat.stub_missing_drn()
        assert 'mmaction.models.localizers.drn' not in sys.modules
    """)
    assert done.returncode == 0, done.stderr


def test_importlib_metadata_is_required_because_mmaction_imports_it():
    broken = python("""
        import sys
        sys.modules['importlib_metadata'] = None
        import mmaction.utils.dependency
    """)
    assert 'importlib_metadata' in broken.stderr
    assert 'importlib_metadata' in requirements()


def test_mmcv_range_is_the_one_mmaction_accepts():
    broken = python("""
        import mmcv
        mmcv.__version__ = '2.2.0'
        import mmaction
    """)
    assert 'incompatible' in broken.stderr
    specifier = requirements()['mmcv-lite'].specifier
    assert '2.1.0' in specifier and '2.2.0' not in specifier


def test_no_config_needs_pkg_resources(tmp_path):
    remote = tmp_path / 'remote.py'
    remote.write_text("_base_ = 'mmaction::_base_/default_runtime.py'")
    broken = python(f"""
        import sys
        sys.modules['pkg_resources'] = None
        from mmengine.config import Config
        Config.fromfile({str(remote)!r})
    """)
    assert 'pkg_resources' in broken.stderr
    for config in (ROOT / 'configs').rglob('*.py'):
        assert not re.search(r"['\"]mmaction::", config.read_text()), config


def save_runner_like_checkpoint(path):
    history = HistoryBuffer([0.5, np.float64(0.25)], [1, 1])
    torch.save(
        dict(
            meta=dict(epoch=1, seed=0),
            state_dict=dict(w=torch.ones(2)),
            message_hub=dict(
                log_scalars=dict(loss=history),
                runtime_info=dict(best=np.float32(0.5), n=np.int64(3)),
                resumed_keys={},
            ),
        ),
        path,
    )


def test_runner_checkpoint_loads_only_with_the_allow_list(tmp_path):
    path = tmp_path / 'runner.pth'
    save_runner_like_checkpoint(path)
    broken = python(f"""
        import mmengine, torch
        torch.load({str(path)!r}, weights_only=True)
    """)
    assert 'HistoryBuffer' in broken.stderr
    loaded = CheckpointLoader.load_checkpoint(str(path))
    history = loaded['message_hub']['log_scalars']['loss']
    assert history.mean() == pytest.approx(0.375)
    assert loaded['message_hub']['runtime_info']['n'] == 3


class WritesAFile:
    """A pickle that runs a shell command where it is loaded unchecked."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def test_checkpoint_with_foreign_code_is_refused_and_nothing_ran(tmp_path):
    evidence = tmp_path / 'ran'
    path = tmp_path / 'foreign.pth'
    torch.save(dict(state_dict=dict(w=WritesAFile(evidence))), path)
    pickle.loads(pickle.dumps(WritesAFile(evidence)))
    assert evidence.exists(), 'the attack must work where nothing checks'
    evidence.unlink()

    with pytest.raises(RuntimeError) as caught:
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
    message = str(caught.value)
    assert str(path) in message and 'system' in message
    assert 'nothing in it was run' in message
    assert 'weights_only=False' not in message
    assert not evidence.exists()


def test_init_dist_needs_cuda_without_the_fix():
    if torch.cuda.is_available():
        pytest.skip('this machine has CUDA, where init_dist works')
    code = """
        import os
        os.environ.update(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1',
                          MASTER_ADDR='127.0.0.1', MASTER_PORT='{port}')
        import cnnlstm_mm.compat as compat
        from mmengine.config import Config
        from mmengine.dist import get_backend, init_dist
        cfg = Config(dict(launcher='pytorch'))
        {call}
        assert get_backend() == 'gloo'
        assert cfg.model_wrapper_cfg.device_ids is None
    """
    broken = python(code.format(port=29611, call='init_dist("pytorch")'))
    assert broken.returncode != 0
    mended = python(code.format(port=29612, call='compat.use_gloo_without_cuda(cfg)'))
    assert mended.returncode == 0, mended.stderr


def test_amp_without_accelerator_needs_our_wrapper():
    if torch.cuda.is_available():
        pytest.skip('this machine has CUDA, where AmpOptimWrapper works')
    from mmengine.optim import AmpOptimWrapper

    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(AssertionError):
        AmpOptimWrapper(optimizer=optimizer)
    wrapper = CPUAmpOptimWrapper(optimizer=optimizer)
    before = model.weight.clone()
    with wrapper.optim_context(model):
        output = model(torch.ones(2, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert not torch.equal(model.weight, before)


def test_heads_take_bfloat16_scores():
    head = MODELS.build(dict(type='I3DHead', num_classes=6, in_channels=2))
    samples = [ActionDataSample().set_gt_label(k) for k in (0, 5)]
    scores = torch.randn(2, 6).bfloat16()
    with pytest.raises(TypeError, match='BFloat16'):
        type(head).loss_by_feat.__wrapped__(head, scores, samples)
    loss = head.loss_by_feat(scores, samples)['loss_cls']
    want = torch.nn.functional.cross_entropy(scores.float(), torch.tensor([0, 5]))
    torch.testing.assert_close(loss, want)


def test_only_the_main_process_writes_test_metrics(tmp_path, monkeypatch):
    """Two processes that dump different lengths at once damage the file."""
    processor = types.SimpleNamespace(
        get_log_after_epoch=lambda *args, **kw: ({'acc/top1': 0.5}, 'Epoch(test)')
    )
    runner = types.SimpleNamespace(
        log_processor=processor,
        test_dataloader=[],
        log_dir=str(tmp_path),
        logger=types.SimpleNamespace(info=lambda text: None),
    )
    hook = LoggerHook()
    hook.json_log_path = 'metrics.json'
    written = tmp_path / 'metrics.json'

    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    LoggerHook.after_test_epoch.__wrapped__(hook, runner)
    assert written.exists(), 'upstream writes from every process'
    written.unlink()
    hook.after_test_epoch(runner)
    assert not written.exists()

    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 0)
    hook.after_test_epoch(runner)
    assert json.loads(written.read_text()) == {'acc/top1': 0.5}


def upstream_adjust_hue(img, factor):
    import cv2

    hsv = cv2.cvtColor(img.astype(np.uint8), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + int(factor * 255)) % 180
    return hsv


def test_color_jitter_shifts_the_hue_both_ways():
    img = np.zeros((2, 2, 3), np.uint8)
    img[..., 0] = 255  # hue 0
    if int(np.__version__.split('.')[0]) >= 2:
        with pytest.raises(OverflowError):
            upstream_adjust_hue(img, -0.25)
    import cv2

    for factor in (-0.5, -0.25, 0.0, 0.25, 0.5):
        shifted = ColorJitter.adjust_hue(img, factor)
        hue = cv2.cvtColor(shifted.astype(np.uint8), cv2.COLOR_RGB2HSV)[0, 0, 0]
        assert abs(int(hue) - int(factor * 255) % 180) <= 1
    jitter = ColorJitter(hue=0.5)
    for _ in range(10):
        assert jitter(dict(imgs=[img]))['imgs'][0].dtype == np.uint8


def test_moviepy_editor_is_there():
    moviepy = pytest.importorskip('moviepy', reason='moviepy is optional')
    if int(moviepy.__version__.split('.')[0]) >= 2:
        assert 'moviepy.editor' in python('import moviepy.editor').stderr
    from moviepy.editor import ImageSequenceClip

    assert ImageSequenceClip is moviepy.ImageSequenceClip


def test_without_decord_the_pipelines_read_with_opencv(monkeypatch):
    pipeline = [
        dict(type='DecordInit', num_threads=2),
        dict(type='SampleFrames'),
        dict(type='DecordDecode', mode='efficient'),
    ]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    assert not compat.read_without_decord(cfg)
    real = compat.importlib.util.find_spec
    monkeypatch.setattr(
        compat.importlib,
        'util',
        types.SimpleNamespace(find_spec=lambda n: None if n == 'decord' else real(n)),
    )
    assert compat.read_without_decord(cfg)
    got = cfg.test_dataloader.dataset.pipeline
    assert [t.type for t in got] == ['OpenCVInit', 'SampleFrames', 'OpenCVDecode']
    assert 'num_threads' not in got[0] and 'mode' not in got[2]


@pytest.mark.parametrize(
    'owner, name', [(HistoryBuffer, '__init__'), (os, 'system'), (torch, 'load')]
)
def test_getattr_in_a_checkpoint_reaches_log_statistics_only(owner, name):
    assert compat.history_statistic(HistoryBuffer, 'min') is HistoryBuffer.min
    with pytest.raises(pickle.UnpicklingError):
        compat.history_statistic(owner, name)


def test_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / 'damaged.pth'
    save_runner_like_checkpoint(path)
    whole = path.read_bytes()
    for content in (b'', b'hello', whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match='damaged.pth is damaged'):
            load_checkpoint(torch.nn.Linear(1, 1), str(path))
