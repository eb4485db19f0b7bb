"""MMAction2's own inferencer with our configs: labels and annotated video."""

import cv2
import numpy as np
import pytest
import torch
from helpers.support import ROOT
from mmengine.config import Config

from mmaction.apis import MMAction2Inferencer
from mmaction.registry import MODELS


def decode(path):
    decord = pytest.importorskip('decord', reason='decord is optional')
    reader = decord.VideoReader(str(path))
    return reader.get_batch(range(len(reader))).asnumpy().astype(int)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'random.pth'
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    from mmengine.registry import init_default_scope

    init_default_scope('mmaction')
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def annotate(checkpoint, video, labels, out):
    inferencer = MMAction2Inferencer(
        str(ROOT / 'configs/mobilenet_convlstm_quickstart.py'),
        str(checkpoint),
        device='cpu',
        label_file=str(labels),
    )
    result = inferencer(str(video), vid_out_dir=str(out))
    scores = result['predictions'][0]['rec_scores'][0]
    assert len(scores) == 8 and sum(scores) == pytest.approx(1, abs=1e-5)
    return decode(video), decode(out / f'{video.stem}.mp4')


def test_annotated_video_shows_the_labels(checkpoint, quickstart_data, tmp_path):
    video = next((quickstart_data / 'videos').rglob('*.avi'))
    frames, drawn = annotate(checkpoint, video, quickstart_data / 'label_map.txt', tmp_path)
    assert len(drawn) == len(frames)
    # The label box covers the upper left; the lower right stays as it was.
    size = min(frames.shape[1:3]) // 4
    changed = np.abs(drawn - frames).mean((0, 3))
    assert changed[-size:, -size:].mean() < 12
    assert changed[:size, :size].mean() > 30


@pytest.mark.slow
def test_demo_clip_is_classified(checkpoint, shared, quickstart_data, tmp_path):
    capture = cv2.VideoCapture(str(shared / 'data/demo/demo.mp4'))
    images = [capture.read()[1] for _ in range(48)]  # of 300, each of which is drawn on
    clip = tmp_path / 'clip.avi'
    size = images[0].shape[1::-1]
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'MJPG'), 30, size)
    for image in images:
        writer.write(image)
    writer.release()
    frames, drawn = annotate(checkpoint, clip, quickstart_data / 'label_map.txt', tmp_path)
    assert len(drawn) == len(frames) == 48 and drawn.std() > 1
