"""Every kind of list through every tool: what works, and what is refused before work starts.

python tests/helpers/list_matrix.py writes docs/lists.md.
"""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
import torch
from helpers.support import ROOT, captured, load_tool, process_state, run_code, run_forked, run_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cnnlstm_mm.cli import expected
from cnnlstm_mm.commands.doctor_checks import package
from cnnlstm_mm.lab.markdown import markdown_table
from mmaction.registry import MODELS

NAMES = ('Jump', 'Run', 'Wave')
MODES = ('train', 'val', 'test')
FRAMES = 8


class Place(NamedTuple):
    """A folder with clips, a config, a checkpoint of its model and a work directory."""

    folder: Path
    config: Path
    checkpoint: Path
    cfg: Config


def base_config(folder: Path) -> Config:
    """A config with the smallest recognizer that streams, on frames of 48x48."""
    frames = dict(type='SampleFrames', clip_len=4, out_of_bound_opt='repeat_last')
    shape = [
        dict(type='Resize', scale=(48, 48), keep_ratio=False),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]
    pipelines = dict(
        train=[dict(type='DecordInit'), frames, dict(type='DecordDecode'), *shape],
        test=[
            dict(type='DecordInit'),
            dict(frames, test_mode=True),
            dict(type='DecordDecode'),
            *shape,
        ],
    )
    loaders = {
        f'{mode}_dataloader': dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=mode == 'train'),
            dataset=dict(
                type='CheckedVideoDataset',
                ann_file=f'{folder}/list.txt',
                data_prefix=dict(video=f'{folder}/videos'),
                pipeline=pipelines['train' if mode == 'train' else 'test'],
                test_mode=mode != 'train',
            ),
        )
        for mode in MODES
    }
    return Config(
        dict(
            custom_imports=dict(imports=['cnnlstm_mm'], allow_failed_imports=False),
            default_scope='mmaction',
            data_root=str(folder),
            test_pipeline=pipelines['test'],
            model=dict(
                type='Recognizer3D',
                backbone=dict(
                    type='TimeDistributed',
                    frozen=True,
                    backbone=dict(
                        type='MobileNetV1',
                        widen_factor=1 / 16,
                        out_indices=(0,),
                        norm_cfg=dict(type='BN'),
                    ),
                ),
                neck=dict(type='LSTMPoolingNeck', in_channels=4, hidden_channels=4)
                | dict(temporal_pool='none'),
                cls_head=dict(
                    type='PerStepHead', num_classes=3, in_channels=4, average_clips='prob'
                ),
                data_preprocessor=dict(
                    type='ActionDataPreprocessor',
                    mean=[127.5] * 3,
                    std=[127.5] * 3,
                    format_shape='NCTHW',
                ),
            ),
            **loaders,
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            val_evaluator=dict(type='AccMetric'),
            test_evaluator=dict(type='AccMetric'),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            default_hooks=dict(
                runtime_info=dict(type='RuntimeInfoHook'),
                timer=dict(type='IterTimerHook'),
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='CheckpointHook', interval=1),
            ),
            vis_backends=[dict(type='LocalVisBackend')],
            visualizer=dict(type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        )
    )


def write_clips(folder: Path) -> None:
    """Six clips of 64x48 pixels, as videos and as folders of frames, and the class names."""
    (folder / 'videos').mkdir(parents=True)
    for k in range(6):
        writer = cv2.VideoWriter(
            str(folder / f'videos/clip{k}.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 8, (64, 48)
        )
        frames = folder / f'frames/clip{k}'
        frames.mkdir(parents=True)
        for t in range(FRAMES):
            image = np.random.default_rng(k * 100 + t).integers(0, 255, (6, 8, 3), np.uint8)
            image = cv2.resize(image, (64, 48))
            writer.write(image)
            cv2.imwrite(str(frames / f'img_{t + 1:05}.jpg'), image)
        writer.release()
        (folder / f'videos/clip {k}.avi').write_bytes((folder / f'videos/clip{k}.avi').read_bytes())
    (folder / 'label_map.txt').write_text('\n'.join(NAMES) + '\n')


def rows(form: str, blank: str = '') -> str:
    """A list of the six clips, a line each from ``form`` with ``k``, ``path`` and ``label``."""
    return ''.join(
        form.format(k=k, path=f'clip{blank}{k}.avi', label=k % 3, name=NAMES[k % 3]) + '\n'
        for k in range(6)
    )


def data_sets(cfg: Config, **changes) -> None:
    """Change the data set of every loader."""
    for mode in MODES:
        cfg[f'{mode}_dataloader'].dataset.update(changes)


def around(cfg: Config, modes, wrap) -> None:
    """Put data sets around those of some loaders."""
    for mode in modes:
        cfg[f'{mode}_dataloader'].dataset = wrap(cfg[f'{mode}_dataloader'].dataset)


def blanks(cfg, folder):
    return rows('{path} {label}')


def tabs(cfg, folder):
    data_sets(cfg, delimiter='\t')
    return rows('{path}\t{label}', ' ')


def header(cfg, folder):
    return 'id,path,label\n' + rows('{k},"{path}",{label}', ' ')


def class_names(cfg, folder):
    return rows('{path} {name}')


def several(cfg, folder):
    data_sets(cfg, multi_class=True, num_classes=3)
    cfg.model.cls_head.update(
        loss_cls=dict(type='BCELossWithLogits'), multi_class=True, average_clips='score'
    )
    metric = dict(type='AccMetric', metric_list=('mean_average_precision',))
    cfg.val_evaluator = cfg.test_evaluator = metric
    return rows('{path} {label} 2').replace('2 2', '2')


def unlabelled(cfg, folder):
    (folder / 'labels.txt').write_text(rows('{path} {label}'))
    for mode in ('train', 'val'):
        cfg[f'{mode}_dataloader'].dataset.ann_file = f'{folder}/labels.txt'
    return rows('{path}')


def no_labels_at_all(cfg, folder):
    return rows('{path}')


def frame_folders(cfg, folder, kind='CheckedRawframeDataset'):
    for mode in MODES:
        data = cfg[f'{mode}_dataloader'].dataset
        data.update(type=kind, data_prefix=dict(img=f'{folder}/frames'))
        data.pipeline = [
            dict(type='RawFrameDecode') if t['type'] == 'DecordDecode' else t
            for t in data.pipeline
            if t['type'] != 'DecordInit'
        ]
        cfg.test_pipeline = data.pipeline
    return rows('clip{k} 8 {label}')


def upstream_folders(cfg, folder):
    return frame_folders(cfg, folder, 'RawframeDataset')


def concatenated(cfg, folder):
    around(cfg, MODES, lambda one: dict(type='ConcatDataset', datasets=[one, one]))
    return rows('{path} {label}')


def repeated(cfg, folder):
    around(cfg, MODES, lambda one: dict(type='RepeatDataset', times=2, dataset=one))
    return rows('{path} {label}')


def class_balanced(cfg, folder):
    around(
        cfg,
        ['train'],
        lambda one: dict(type='ClassBalancedDataset', oversample_thr=0.5, dataset=one),
    )
    return rows('{path} {label}').replace('clip5.avi 2\n', 'clip5.avi 0\n')


def by_iterations(cfg, folder):
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
    cfg.log_processor = dict(by_epoch=False)
    return rows('{path} {label}')


def upstream(cfg, folder):
    data_sets(cfg, type='VideoDataset')
    return rows('{path} {label}')


KINDS = {
    'path label': blanks,
    'tabs, spaces in names': tabs,
    'CSV with a header': header,
    'class names': class_names,
    'several labels': several,
    'no labels': no_labels_at_all,
    'test list without labels': unlabelled,
    'frame folders': frame_folders,
    'ConcatDataset': concatenated,
    'RepeatDataset': repeated,
    'ClassBalancedDataset': class_balanced,
    'loop by iterations': by_iterations,
    "MMAction2's VideoDataset": upstream,
    "MMAction2's RawframeDataset": upstream_folders,
}


def prepare(kind: str, folder: Path) -> Place:
    """Write clips, list, config and a checkpoint of random weights."""
    init_default_scope('mmaction')
    write_clips(folder)
    cfg = base_config(folder)
    (folder / 'list.txt').write_text(KINDS[kind](cfg, folder))
    cfg.dump(folder / 'own.py')
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta=dict()), folder / 'random.pth')
    return Place(folder, folder / 'own.py', folder / 'random.pth', cfg)


def trained(place: Place) -> Path:
    """The checkpoint of the cell train, or one of random weights where that is refused."""
    found = sorted(place.folder.glob('work/*_[0-9].pth'))
    return found[0] if found else place.checkpoint


def examine(place: Place) -> tuple[str, str]:
    """Check a config as tools/doctor.py does in a process of its own."""
    done = run_forked(package.CONFIG, str(place.config), call=run_code)
    if done.returncode:
        return 'refused', json.loads(done.stderr.strip().splitlines()[-1])
    return 'works', done.stdout


def calibrate(place: Place) -> tuple[str, str]:
    """Read a list as tools/export_onnx.py --int8 --calibration does; no model is exported."""
    tool = load_tool('tools/export_onnx.py')
    argv = [place.config, place.checkpoint, '--mode', 'clip', '--int8']
    argv += ['--calibration', place.folder / 'list.txt']
    args = tool.argument_parser().parse_args(list(map(str, argv)))
    with process_state(), captured():
        try:
            exporter = tool.Exporter(args)
            views = tool.clip_views(exporter.pipeline, str(place.folder / 'videos/clip0.avi'))
            found = [label for _, label in exporter.samples(range(len(exporter.samples)))]
        except ValueError as error:
            if not expected(error):
                raise
            return 'refused', str(error)
    return ('works', '') if views.shape[2] == 4 and 0 in found else ('broken', f'{found}')


TOOLS = {
    'train': lambda p: ('tools/train.py', p.config, '--work-dir', p.folder / 'work'),
    'test': lambda p: (
        *('tools/test.py', p.config, trained(p), '--work-dir', p.folder / 'work'),
        *('--per-class', '--dump', p.folder / 'work/scores of today.pkl'),
    ),
    'test --dump': lambda p: (
        *('tools/test.py', p.config, trained(p), '--work-dir', p.folder / 'dumped'),
        *('--dump', p.folder / 'dumped/scores.pkl'),
    ),
    'predict': lambda p: (
        *('tools/predict.py', p.config, trained(p), p.folder / 'list.txt'),
        *('--csv', p.folder / 'answers.csv'),
    ),
    'report': lambda p: (
        *('tools/report.py', p.folder / 'work', '--configs', p.folder),
        *('--json', p.folder / 'results.json'),
    ),
    'extract_features': lambda p: (
        *('tools/extract_features.py', p.config, '--out', p.folder / 'store'),
        *('--num-workers', 0, '--work-dir', p.folder),
    ),
    'temporal_probe': lambda p: (
        *('tools/analysis/temporal_probe.py', p.config, p.checkpoint),
        *('--json', p.folder / 'probe.json', '--shuffles', 0),
    ),
    'early_recognition': lambda p: (
        *('tools/analysis/early_recognition.py', p.config, p.checkpoint),
        *('--json', p.folder / 'early.json'),
    ),
    'complexity': lambda p: ('tools/analysis/complexity.py', p.config),
    'doctor': examine,
    'stream_demo': lambda p: (
        *('tools/stream_demo.py', p.folder / 'videos/clip0.avi', p.config, p.checkpoint),
        *('--json', p.folder / 'stream.jsonl'),
    ),
    'export_onnx': calibrate,
}


def cell(tool: str, place: Place) -> tuple[str, str]:
    """'works', or 'refused' and its sentence; 'broken' and the output for anything else."""
    called = TOOLS[tool](place)
    if called[0] in ('works', 'refused', 'broken'):
        return called
    done = run_tool(*called)
    text = done.stdout + done.stderr
    if done.returncode == 0:
        return 'works', text
    sentences = re.findall(r'\S+\.py: error: (.*)', done.stderr, re.S)
    began = re.search(r'^(Training|Testing) ', text, re.M)
    if done.returncode == 2 and sentences and not began:
        return 'refused', sentences[-1].strip()
    return 'broken', text


def run_kind(kind: str, folder: Path, tools: tuple[str, ...] = tuple(TOOLS)) -> dict[str, tuple]:
    """All cells of a kind of list."""
    place = prepare(kind, folder)
    return {
        tool: (state, text.replace(f'{folder}/', ''))
        for tool in tools
        for state, text in [cell(tool, place)]
    }


def page(matrix: dict[str, dict[str, tuple]]) -> str:
    """docs/lists.md: the matrix, and the sentence of each refusal."""
    notes: dict[str, int] = {}
    lines = [['list', *TOOLS]]
    for kind, cells in matrix.items():
        line = [kind]
        for tool in TOOLS:
            state, text = cells[tool]
            if state == 'refused':
                sentence = ' '.join(shorten(text))
                state = f'refused [{notes.setdefault(sentence, len(notes) + 1)}]'
            line.append(state)
        lines.append(line)
    listed = '\n'.join(f'{number}. {text}' for text, number in notes.items())
    return HEAD + markdown_table(lines, padded=False) + '\n\n' + listed + '\n'


def shorten(text: str) -> list[str]:
    """The first fault of a list, and the cures."""
    first, *more = text.splitlines()
    return [first, *(line for line in more if line.startswith('fix'))]


HEAD = """# Lists

Which list goes through which tool. `tests/helpers/list_matrix.py` writes this page, and
`tests/tools/test_list_matrix.py` runs each cell: it works, or it is refused in one sentence before
work starts. A list without labels gives scores (`cnnlstm-mm test --dump`) and
answers (`cnnlstm-mm predict`). The column export_onnx is its `--int8 --calibration LIST`.

"""


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as made:
        found = {
            kind: run_kind(kind, Path(made) / str(number)) for number, kind in enumerate(KINDS)
        }
    (ROOT / 'docs/lists.md').write_text(page(found))
