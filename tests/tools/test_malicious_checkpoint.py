"""A checkpoint that runs code where it is unpickled, given to every tool."""

import os

import pytest
import torch
from helpers.support import ROOT, run_tool

CONFIG = 'configs/mobilenet_convlstm_quickstart.py'
STREAM = 'configs/mobilenet_convlstm_stream_quickstart.py'


class WritesAFile:
    """Touches a file where it is loaded unchecked."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def data(folder):
    return [
        f'{mode}_dataloader.dataset.{key}={folder}/{value}'
        for mode, split in (('train', 'train'), ('val', 'val'), ('test', 'val'))
        for key, value in (
            ('ann_file', f'quickstart_{split}_split_1_videos.txt'),
            ('data_prefix.video', 'videos'),
        )
    ]


def inferencer(config, checkpoint):
    from mmaction.apis import MMAction2Inferencer

    MMAction2Inferencer(str(ROOT / config), str(checkpoint), device='cpu')


TOOLS = dict(
    resume=lambda path, folder, video: [
        'train.py',
        CONFIG,
        '--resume',
        path,
        '--work-dir',
        path.parent / 'work',
        '--cfg-options',
        *data(folder),
    ],
    load_from=lambda path, folder, video: [
        'train.py',
        CONFIG,
        '--work-dir',
        path.parent / 'work',
        '--cfg-options',
        f'load_from={path}',
        *data(folder),
    ],
    test=lambda path, folder, video: [
        'test.py',
        CONFIG,
        path,
        '--work-dir',
        path.parent / 'work',
        '--cfg-options',
        *data(folder),
    ],
    export=lambda path, folder, video: ['export_onnx.py', STREAM, path, '--mode', 'step'],
    stream_demo=lambda path, folder, video: ['stream_demo.py', video, STREAM, path, '--json', '-'],
    inferencer=None,
)


@pytest.mark.parametrize('tool', TOOLS)
def test_it_is_refused_and_nothing_is_written(tool, quickstart_data, tmp_path):
    evidence, path = tmp_path / 'evidence', tmp_path / 'stranger.pth'
    torch.save(
        dict(
            state_dict=dict(w=torch.ones(1)),
            meta=dict(epoch=1, iter=1, attack=WritesAFile(evidence)),
        ),
        path,
    )
    torch.load(path, weights_only=False)
    assert evidence.exists(), 'the attack must work where nothing checks'
    evidence.unlink()

    if tool == 'inferencer':
        with pytest.raises(RuntimeError) as caught:
            inferencer(CONFIG, path)
        message = str(caught.value)
    else:
        video = next((quickstart_data / 'videos').rglob('*.avi'))
        name, *args = TOOLS[tool](path, quickstart_data, video)
        done = run_tool(f'tools/{name}', *args)
        assert done.returncode == 2 and 'Traceback' not in done.stderr, done.stderr
        message = done.stderr
    assert not evidence.exists()
    assert str(path) in message and 'system' in message
    assert 'nothing in it was run' in message
    assert 'torch.save(dict(state_dict=' in message
    assert 'weights_only=False' not in message
    assert {p.name for p in tmp_path.iterdir()} <= {'stranger.pth', 'work'}
