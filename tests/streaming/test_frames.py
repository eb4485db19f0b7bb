"""FrameTransform against MMAction2's own pipeline."""

import numpy as np
import pytest
from helpers.support import ROOT
from mmengine.config import Config
from mmengine.dataset import Compose

from cnnlstm_mm.streaming import FrameTransform, StreamingRecognizer

SIZES = [(240, 320), (320, 240), (96, 96), (257, 433), (1080, 1920)]


def through_pipeline(pipeline, images):
    """The frames [views, T, H, W, 3] that MMAction2 makes of ``images``."""
    wanted = [t for t in pipeline if t['type'] in ('Resize', 'CenterCrop', 'ThreeCrop')]
    results = dict(
        imgs=list(images),
        img_shape=images[0].shape[:2],
        modality='RGB',
        num_clips=1,
        clip_len=len(images),
    )
    done = np.stack(Compose(wanted)(results)['imgs'])
    return done.reshape(-1, len(images), *done.shape[1:])


@pytest.mark.parametrize('name', ['mobilenet_convlstm_ucf101', 'mobilenet_convlstm_quickstart'])
@pytest.mark.parametrize('pipeline', ['val_pipeline', 'test_pipeline'])
@pytest.mark.parametrize('size', SIZES)
def test_equals_the_pipelines_of_the_configs(name, pipeline, size):
    pipeline = Config.fromfile(ROOT / f'configs/{name}.py')[pipeline]
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    views = through_pipeline(pipeline, images)
    # ThreeCrop gives left, right, middle.
    want = views[-1]
    transform = FrameTransform.from_pipeline(pipeline)
    got = np.stack([transform(image) for image in images])
    assert np.array_equal(got, want)
    assert transform.size == got.shape[1:3]


@pytest.mark.parametrize(
    'resize',
    [
        dict(scale=0.5),
        dict(scale=(-1, 100)),
        dict(scale=(200, 90)),
        dict(scale=(70, 110), keep_ratio=False),
        dict(scale=(60, 60), keep_ratio=False, interpolation='area'),
        dict(scale=(-1, 100), interpolation='bicubic'),
    ],
)
@pytest.mark.parametrize('size', SIZES[:3])
def test_every_way_to_resize(resize, size):
    pipeline = [dict(resize, type='Resize')]
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    got = FrameTransform.from_pipeline(pipeline)(image)
    assert np.array_equal(got, through_pipeline(pipeline, [image])[0, 0])


def test_real_frames_through_the_whole_test_pipeline(shared):
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_ucf101_mini10.py')
    cfg.test_pipeline[3:4] = [
        dict(type='Resize', scale=(-1, 256)),
        dict(type='CenterCrop', crop_size=224),
    ]
    cfg.test_dataloader.dataset.pipeline = cfg.test_pipeline
    cfg.model.backbone.backbone.init_cfg = None
    rec = StreamingRecognizer(cfg)
    video = str(next((shared / 'data/ucf101_mini10/videos').glob('*/*.avi')))
    read = Compose(
        [
            dict(type='DecordInit'),
            dict(type='UniformSample', clip_len=8, test_mode=True),
            dict(type='DecordDecode'),
        ]
    )
    results = dict(filename=video, start_index=0, modality='RGB', label=0)
    images = read(dict(results))['imgs']
    packed = Compose(cfg.test_pipeline)(dict(results))
    from mmaction.registry import MODELS

    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    want = preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))[
        'inputs'
    ]
    got = rec.prepare(images)  # [T, 3, h, w]
    assert got.transpose(0, 1).equal(want[0, 0])


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='Flip', flip_ratio=1),
        dict(type='TenCrop', crop_size=32),
        dict(type='Resize', scale=(32, 32), lazy=True),
    ],
)
def test_other_transforms_are_named(transform):
    with pytest.raises(ValueError, match=transform['type']):
        FrameTransform.from_pipeline([transform])


def test_a_frame_smaller_than_the_crop():
    transform = FrameTransform([dict(type='CenterCrop', crop_size=[64, 64])])
    with pytest.raises(ValueError, match='100x50.*64x64.*Resize'):
        transform(np.zeros((50, 100, 3), np.uint8))


def test_the_source_may_decide_the_size():
    assert FrameTransform([]).size is None
    resize = dict(type='Resize', scale=[-1, 8], keep_ratio=True)
    assert FrameTransform([resize]).size is None
    with pytest.raises(ValueError, match='Pad'):
        FrameTransform([dict(type='Pad')])
