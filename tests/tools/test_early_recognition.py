"""tools/analysis/early_recognition.py against MMAction2 on cut videos."""

import json

import numpy as np
import pytest
import torch
from helpers.stream_models import build
from helpers.support import ROOT, run_tool
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

pytestmark = pytest.mark.slow

CLIP = 'configs/mobilenet_convlstm_quickstart.py'
STREAM = 'configs/mobilenet_convlstm_stream_quickstart.py'
TOOL = 'tools/analysis/early_recognition.py'


@pytest.fixture(scope='module')
def trained(quickstart_data, tmp_path_factory):
    """A model and a checkpoint for each config; the list and the videos."""
    init_default_scope('mmaction')
    torch.manual_seed(0)
    out = {}
    for config in (CLIP, STREAM):
        cfg = Config.fromfile(ROOT / config)
        model = build(cfg)
        answer_differently(model, cfg, quickstart_data / 'videos')
        path = tmp_path_factory.mktemp('model') / 'model.pth'
        torch.save(model.state_dict(), path)
        out[config] = cfg, model, str(path)
    ann_file = quickstart_data / 'quickstart_val_split_1_videos.txt'
    return out, ann_file, quickstart_data / 'videos'


def answer_differently(model, cfg, videos):
    """Take from the scores what they have in common for all videos."""
    pipeline = Compose(cfg.test_pipeline)
    clips = [
        pipeline(dict(filename=str(path), start_index=0, modality='RGB', label=0))
        for path in videos.glob('*/*.avi')
    ]
    with torch.no_grad():
        x = model.data_preprocessor(pseudo_collate(clips))['inputs']
        scores = torch.cat(
            [model(x[:, :, :, :frames], mode='tensor', stage='head')[0] for frames in (1, 8, 16)]
        )
        model.cls_head.fc_cls.bias -= scores.mean(0)


def answers(cfg, model, names, videos, parts):
    """The class after each part of each video, by the test pipeline."""
    found = np.zeros((len(names), len(parts)), int)
    for row, name in enumerate(names):
        for column, part in enumerate(parts):
            count = max(1, round(16 * part / 100))
            clip = [dict(transform) for transform in cfg.test_pipeline]
            if cfg.model.cls_head.type == 'PerStepHead':
                clip[1]['clip_len'] = count  # else the video loops
            opened = Compose(clip[:1])(
                dict(filename=str(videos / name), start_index=0, modality='RGB', label=0)
            )
            opened['total_frames'] = count
            packed = Compose(clip[1:])(opened)
            with torch.no_grad():
                (sample,) = model.test_step(pseudo_collate([packed]))
            found[row, column] = int(sample.pred_label)
    return found


def test_curves_of_both_kinds(trained, tmp_path):
    models, ann_file, videos = trained
    parts = [7, 50, 100]
    names = [row.split()[0] for row in ann_file.read_text().splitlines()]
    found = {
        config: answers(*models[config][:2], names, videos, parts) for config in (CLIP, STREAM)
    }
    # Labels that some parts get right, and others do not.
    labels = [found[CLIP if k % 2 else STREAM][k, k % 5 // 2] for k in range(len(names))]
    (tmp_path / 'list.txt').write_text(
        ''.join(f'{name} {label}\n' for name, label in zip(names, labels))
    )
    done = run_tool(
        TOOL,
        CLIP,
        models[CLIP][2],
        STREAM,
        models[STREAM][2],
        '--parts',
        *parts[::-1],
        '--json',
        tmp_path / 'early.json',
        '--plot',
        tmp_path / 'new/early.png',
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={tmp_path}/list.txt',
        f'test_dataloader.dataset.data_prefix.video={videos}',
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / 'early.json').read_text())
    assert written['parts'] == parts
    assert [c['mode'] for c in written['curves']] == ['clip', 'stream']
    wanted = [
        (found[config] == np.array(labels)[:, None]).mean(0).tolist() for config in (CLIP, STREAM)
    ]
    assert len({value for want in wanted for value in want}) > 2
    for curve, want in zip(written['curves'], wanted):
        assert curve['videos'] == 16
        assert curve['top1'] == pytest.approx(want)
    rows = [line for line in done.stdout.splitlines() if line[:1] == '|']
    assert len(rows) == 5 and rows[2].startswith('| 7 %')
    assert (tmp_path / 'new/early.png').read_bytes()[1:4] == b'PNG'


def test_a_broken_video_is_named(trained, tmp_path):
    models, _, videos = trained
    name = next(videos.glob('*/*.avi')).relative_to(videos)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text('no video')
    (tmp_path / 'list.txt').write_text(f'{name} 0\n')
    done = run_tool(
        TOOL,
        STREAM,
        models[STREAM][2],
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={tmp_path}/list.txt',
        f'test_dataloader.dataset.data_prefix.video={tmp_path}',
    )
    assert done.returncode != 0
    assert str(tmp_path / name) in done.stderr
    assert 'list.txt' in done.stderr


@pytest.mark.parametrize(
    'arguments, words',
    [
        ([CLIP], 'expected pairs of CONFIG and CHECKPOINT'),
        ([CLIP, 'a.pth', '--modes', 'clip', 'stream'], '--modes for 1 models, got 2'),
        (
            [CLIP, 'a.pth', '--cfg-options', 'test_dataloader.dataset.ann_file=absent.txt'],
            'absent.txt',
        ),
    ],
)
def test_what_cannot_run(arguments, words):
    done = run_tool(TOOL, *arguments)
    assert done.returncode != 0 and words in done.stderr
