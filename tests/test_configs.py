"""Every config: it loads alone, its parts build, and one step trains."""
import pytest
import torch
from support import ROOT
from mmengine.config import Config
from mmengine.dataset import Compose

from cnnlstm_mm import compat
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
# That of word vectors trains in test_embeddings_quickstart.py.
VIDEO_CONFIGS = [path for path in CONFIGS if 'embeddings' not in path.stem]
CLASSES = dict(ucf101=101, kinetics400=400, mini10=10, quickstart=8)


def load(path):
    return Config.fromfile(path)


@pytest.mark.parametrize('path', VIDEO_CONFIGS, ids=lambda path: path.stem)
def test_config_trains_one_step(path):
    cfg = load(path)
    classes = CLASSES[path.stem.removesuffix('_features').rpartition('_')[2]]
    assert cfg.model.cls_head.num_classes == classes
    assert cfg.model.cls_head.average_clips == 'prob'
    for mode in ('train', 'val', 'test'):
        Compose(cfg[f'{mode}_dataloader'].dataset.pipeline)
    pipeline = {t.type: t for t in cfg.val_dataloader.dataset.pipeline}
    crop = pipeline.get('CenterCrop')
    side = crop.crop_size if crop else pipeline['Resize'].scale[0]

    model = MODELS.build(cfg.model).train()
    clips = torch.randint(0, 256, (2, 1, 3, 2, side, side), dtype=torch.uint8)
    samples = [ActionDataSample().set_gt_label(k) for k in (0, classes - 1)]
    data = model.data_preprocessor(
        dict(inputs=list(clips), data_samples=samples), True)
    assert data['inputs'].abs().max() < 3, 'the frames must be normalised'
    losses = model(**data, mode='loss')
    losses['loss_cls'].backward()
    frozen = cfg.model.backbone.frozen if 'frozen' in cfg.model.backbone \
        else False
    for name, parameter in model.named_parameters():
        trained = not (frozen and name.startswith('backbone.'))
        assert (parameter.grad is not None) == trained, name


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_says_how_to_get_what_is_missing(path):
    cfg = load(path)
    assert 'data/' in cfg.data_help
    weights = [node.checkpoint for node in compat.dicts(cfg.model)
               if node.get('type') == 'Pretrained']
    assert bool(weights) == ('weights_help' in cfg)
    assert cfg.optim_wrapper.clip_grad.max_norm > 0


def test_the_seed_is_the_seed():
    cfg = load(ROOT / 'configs/mobilenet_convlstm_ucf101.py')
    sampling = cfg.train_dataloader.dataset.pipeline[1]
    assert (sampling.clip_len, sampling.num_clips) == (32, 1)
    model = MODELS.build(cfg.model)
    # MobileNet 3,206,976 trainable; ConvLSTM2D 4 (3 3 (1024 + 256) 256 + 256);
    # Dense 5 5 256 256 + 256; Dense 256 101 + 101.
    wanted = 3206976 + 4 * (9 * 1280 * 256 + 256) + 6400 * 256 + 256 + \
        256 * 101 + 101
    assert sum(p.numel() for p in model.parameters()) == wanted


def test_no_config_flips_the_order_only_data():
    cfg = load(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    assert 'Flip' not in [t.type for t in
                          cfg.train_dataloader.dataset.pipeline]
