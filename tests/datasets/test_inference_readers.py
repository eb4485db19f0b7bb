"""MMAction2's inference reads videos as the data sets do."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from mmengine.config import Config

from mmaction.apis import inference
from mmaction.apis.inferencers.actionrecog_inferencer import ActionRecogInferencer

PIPELINE = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=16, frame_interval=1, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape',)),
]


@pytest.fixture(scope='module')
def cut_clip(tmp_path_factory):
    """The last second of a clip, cut without encoding: 25 of 75 frames are shown."""
    folder = tmp_path_factory.mktemp('cut')
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), '-loglevel', 'error', '-nostdin']
    source = ['-f', 'lavfi', '-i', 'testsrc=s=96x72:r=25:d=3', '-pix_fmt', 'yuv420p', '-g', '250']
    whole, cut = folder / 'whole.mp4', folder / 'cut.mp4'
    subprocess.run([*ffmpeg, *source, whole], check=True)
    subprocess.run([*ffmpeg, '-ss', '2', '-i', whole, '-c', 'copy', cut], check=True)
    raw = [*ffmpeg, '-i', cut, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-']
    shown = np.frombuffer(subprocess.run(raw, check=True, capture_output=True).stdout, np.uint8)
    return cut, shown.reshape(25, 72, 96, 3)


def centre_clip(inputs):
    return inputs[0].numpy().transpose(1, 2, 3, 0)


def test_inference_recognizer(cut_clip):
    cut, shown = cut_clip
    pipeline = inference.Compose(PIPELINE)
    packed = pipeline(dict(filename=str(cut), label=-1, start_index=0, modality='RGB'))
    assert np.abs(centre_clip(packed['inputs']).astype(int) - shown[4:20]).max() <= 8


def test_inferencer(cut_clip):
    cut, shown = cut_clip
    inferencer = ActionRecogInferencer.__new__(ActionRecogInferencer)
    inferencer.input_format, inferencer.pack_cfg = 'video', {}
    cfg = dict(model=dict(type='Recognizer3D'))
    cfg['test_dataloader'] = dict(dataset=dict(pipeline=PIPELINE))
    packed = inferencer._init_pipeline(Config(cfg))(str(cut))
    assert np.abs(centre_clip(packed['inputs']).astype(int) - shown[4:20]).max() <= 8
