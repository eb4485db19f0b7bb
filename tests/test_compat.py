"""Each fix: the break shows without it and is gone with it."""

import configparser
import json
import re
import sys
import types

import cv2
import numpy as np
import pytest
import torch
from helpers.fresh_python import fresh_python
from helpers.support import ROOT, free_port, run_python
from mmengine.hooks import LoggerHook, logger_hook
from packaging.requirements import Requirement

from cnnlstm_mm import compat
from cnnlstm_mm.engine import CPUAmpOptimWrapper
from mmaction.datasets.transforms import ColorJitter
from mmaction.evaluation.functional.accuracy import average_recall_at_avg_proposals
from mmaction.evaluation.metrics.multimodal_metric import RetrievalRecall
from mmaction.registry import MODELS, TRANSFORMS
from mmaction.structures import ActionDataSample
from mmaction.utils import frame_extract

NUMPY_HAS = json.loads(
    run_python(
        '-c',
        'import json, numpy; '
        "print(json.dumps([hasattr(numpy, n) for n in ('Inf', 'trapz', 'in1d')]))",
    ).stdout
)


def requirements():
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    lines = setup['options']['install_requires'].splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    return {r.name: r for r in found}


@pytest.mark.slow
def test_models_import_only_with_the_stub():
    broken = fresh_python('import mmaction.models')
    if broken.returncode == 0:
        pytest.skip('this MMAction2 has mmaction.models.localizers.drn')
    assert 'mmaction.models.localizers.drn' in broken.stderr
    mended = fresh_python('import cnnlstm_mm, mmaction.models')
    assert mended.returncode == 0, mended.stderr


def test_drn_stub_says_where_drn_is():
    if getattr(sys.modules['mmaction.models.localizers.drn'], '__file__', None):
        pytest.skip('this MMAction2 has mmaction.models.localizers.drn')
    with pytest.raises(ImportError, match='git repository'):
        MODELS.build(dict(type='DRN'))


@pytest.mark.slow
def test_the_stand_in_leaves_a_whole_mmaction_alone(tmp_path):
    folder = tmp_path / 'mmaction' / 'models' / 'localizers' / 'drn'
    folder.mkdir(parents=True)
    for parent in (folder, *folder.parents[:3]):
        (parent / '__init__.py').touch()
    done = fresh_python(f"""
        import sys
        from cnnlstm_mm.compat import provide_missing_modules
        for name in [name for name in sys.modules if name.partition('.')[0] == 'mmaction']:
            del sys.modules[name]
        sys.path.insert(0, {str(tmp_path)!r})
        provide_missing_modules()
        import mmaction.models.localizers.drn as drn
        assert drn.__file__ == {str(folder / '__init__.py')!r}
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_scipy_stats_waits_for_the_first_pose():
    done = fresh_python("""
        import sys
        import cnnlstm_mm.models
        from mmaction.datasets.transforms.pose_transforms import get_mode
        assert 'scipy.stats' not in sys.modules
        assert get_mode([3, 1, 3])[0] == 3
        import scipy.stats
        assert scipy.stats is sys.modules['scipy.stats'] and scipy.stats.norm.cdf(0) == 0.5
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_importlib_metadata_is_required_because_mmaction_imports_it():
    broken = fresh_python("""
        import sys
        sys.modules['importlib_metadata'] = None
        import mmaction.utils.dependency
    """)
    assert 'importlib_metadata' in broken.stderr
    assert 'importlib_metadata' in requirements()


@pytest.mark.slow
def test_mmcv_range_is_the_one_mmaction_accepts():
    broken = fresh_python("""
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
    broken = fresh_python(f"""
        import sys
        sys.modules['pkg_resources'] = None
        from mmengine.config import Config
        Config.fromfile({str(remote)!r})
    """)
    assert 'pkg_resources' in broken.stderr
    for config in (ROOT / 'configs').rglob('*.py'):
        assert not re.search(r"['\"]mmaction::", config.read_text()), config


@pytest.mark.slow
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
    broken = fresh_python(code.format(port=free_port(), call='init_dist("pytorch")'))
    assert broken.returncode != 0
    mended = fresh_python(code.format(port=free_port(), call='compat.apply_gloo_without_cuda(cfg)'))
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
    """Two processes that dump different lengths at once damage the file; all log."""
    logged = []
    processor = types.SimpleNamespace(
        get_log_after_epoch=lambda *args, **kw: ({'acc/top1': 0.5}, 'Epoch(test)')
    )
    runner = types.SimpleNamespace(
        log_processor=processor,
        test_dataloader=[],
        log_dir=str(tmp_path),
        logger=types.SimpleNamespace(info=logged.append),
    )
    hook = LoggerHook()
    hook.json_log_path = 'metrics.json'
    written = tmp_path / 'metrics.json'

    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    with monkeypatch.context() as patch:
        patch.setattr(logger_hook, 'dump', logger_hook.dump.__wrapped__)
        hook.after_test_epoch(runner)
        assert written.exists(), 'upstream writes from every process'
    written.unlink()
    hook.after_test_epoch(runner)
    assert not written.exists() and len(logged) == 2

    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 0)
    hook.after_test_epoch(runner)
    assert json.loads(written.read_text()) == {'acc/top1': 0.5}


def upstream_adjust_hue(img, factor):
    hsv = cv2.cvtColor(img.astype(np.uint8), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + int(factor * 255)) % 180
    return hsv


def test_color_jitter_shifts_the_hue_both_ways():
    img = np.zeros((2, 2, 3), np.uint8)
    img[..., 0] = 255  # hue 0
    if int(np.__version__.split('.')[0]) >= 2:
        with pytest.raises(OverflowError):
            upstream_adjust_hue(img, -0.25)
    for factor in (-0.5, -0.25, 0.0, 0.25, 0.5):
        shifted = ColorJitter.adjust_hue(img, factor)
        hue = cv2.cvtColor(shifted.astype(np.uint8), cv2.COLOR_RGB2HSV)[0, 0, 0]
        assert abs(int(hue) - int(factor * 255) % 180) <= 1
    jitter = ColorJitter(hue=0.5)
    for _ in range(10):
        assert jitter(dict(imgs=[img]))['imgs'][0].dtype == np.uint8


def test_moviepy_editor_is_there(tmp_path):
    moviepy = pytest.importorskip('moviepy', reason='moviepy is optional')
    if int(moviepy.__version__.split('.')[0]) >= 2:
        assert 'moviepy.editor' in fresh_python('import moviepy.editor').stderr
    from moviepy.editor import ImageSequenceClip, VideoFileClip

    assert VideoFileClip is getattr(moviepy, 'VideoFileClip', VideoFileClip)  # since 2
    # As torch.utils.tensorboard calls it, where there is a moviepy.editor.
    clip = ImageSequenceClip([np.zeros((8, 8, 3), np.uint8)] * 3, fps=4)
    clip.write_gif(str(tmp_path / 'clip.gif'), verbose=False, logger=None)
    assert (tmp_path / 'clip.gif').read_bytes()[:3] == b'GIF'


@pytest.mark.slow
def test_stand_ins_are_modules_like_others():
    """They have specs, are imported on use alone, and give way to the real ones."""
    done = fresh_python("""
        import inspect, sys
        from importlib.util import find_spec
        import cnnlstm_mm, mmaction.models
        roots = ('cnnlstm_mm', 'mmaction', 'mmcv', 'mmengine', 'moviepy')
        ours = {n: m for n, m in sys.modules.items() if n.split('.')[0] in roots}
        assert [n for n, m in ours.items() if m.__spec__ is None] == []
        inspect.getmodule(print)  # it asks every module for its file
        assert 'moviepy' not in sys.modules
        for name in ('moviepy.editor', 'mmaction.models.localizers.drn'):
            assert find_spec(name).name == name
        assert find_spec('mmaction.models.localizers.other') is None
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_only_upstream_warnings_are_silenced():
    done = fresh_python("""
        import warnings
        import cnnlstm_mm, mmengine
        for module in ('mmengine.model.wrappers.distributed', 'torch_user'):
            warnings.warn_explicit('`broadcast_buffers` is deprecated', UserWarning, 'f', 1, module)
        for module in ('mmcv.cnn.bricks.transformer', 'mmcv_user'):
            text = 'Fail to import ``MultiScaleDeformableAttention``'
            warnings.warn_explicit(text, UserWarning, 'g', 1, module)
    """)
    lines = [line for line in done.stderr.splitlines() if 'UserWarning' in line]
    assert [line.split(':')[0] for line in lines] == ['f', 'g'], done.stderr


@pytest.mark.parametrize('kind', ['PoseCompact', 'frame_extract', 'AR', 'recall'])
def test_names_that_numpy_dropped(kind, tmp_path):
    """Against results by hand; each fails in MMAction2 under numpy 2."""
    if kind == 'PoseCompact':
        keypoint = np.zeros((1, 1, 3, 2), np.float32)  # [persons, T, points, xy]
        keypoint[0, 0, :2] = [[40, 20], [60, 40]]  # the third point is missing
        compact = TRANSFORMS.build(dict(type='PoseCompact', padding=0.0, threshold=10))
        results = compact(dict(img_shape=(100, 100), keypoint=keypoint))
        assert results['img_shape'] == (20, 20)
        assert results['keypoint'][0, 0, 1].tolist() == [20, 20]
    elif kind == 'frame_extract':
        path = tmp_path / 'clip.avi'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 32))
        for _ in range(3):
            writer.write(np.zeros((32, 64, 3), np.uint8))
        writer.release()
        frames = frame_extract(str(path), short_side=16, out_dir=str(tmp_path))[1]
        assert [frame.shape for frame in frames] == 3 * [(16, 32, 3)]
    elif kind == 'AR':
        truth, proposals = {'v': np.array([[0.0, 1.0]])}, {'v': np.array([[0.0, 1.0, 0.9]])}
        recall, _, _, area = average_recall_at_avg_proposals(
            truth, proposals, 1, max_avg_proposals=1
        )
        assert recall.shape == (10, 100) and area == pytest.approx(0.5)
    else:
        metric = RetrievalRecall(topk=(1, 2))
        samples = [
            dict(pred_score=torch.tensor([0.1, 0.9, 0.5]), gt_label=torch.tensor([best]))
            for best in (1, 2)
        ]
        metric.process(None, [dict(s) for s in samples])
        assert metric.compute_metrics(metric.results) == {'Recall@1': 50, 'Recall@2': 100}


@pytest.mark.slow
def test_names_that_python_dropped():
    """pkgutil.find_loader, of which Python 3.14 knows nothing, is deleted before anything asks."""
    code = """
        import pkgutil
        del pkgutil.find_loader
        import torch
        {imports}
        from mmengine.optim import build_optim_wrapper
        from mmcv.utils.ext_loader import check_ops_exist
        wrapper = build_optim_wrapper(torch.nn.Linear(2, 2), dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0),
            paramwise_cfg=dict(bias_lr_mult=0.5)))
        assert sorted(g['lr'] for g in wrapper.optimizer.param_groups) == [0.5, 1.0]
        assert check_ops_exist() is False  # mmcv-lite
        assert not hasattr(pkgutil, 'find_loader')
    """
    assert 'find_loader' in fresh_python(code.format(imports='')).stderr
    done = fresh_python(code.format(imports='import cnnlstm_mm'))
    assert done.returncode == 0, done.stderr


def test_libraries_are_left_as_they_are():
    """The dropped names are given to the modules that use them, and to no others."""
    assert [hasattr(np, name) for name in ('Inf', 'trapz', 'in1d')] == NUMPY_HAS
    assert compat._Extended(np, 'Inf', np.inf).Inf == np.inf
    assert compat._Extended(np, 'Inf', np.inf).array is np.array
