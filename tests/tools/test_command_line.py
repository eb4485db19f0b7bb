"""What all tools have in common: ``main(argv)``, errors in one sentence, nothing left behind."""

import logging
import os
import re
import signal
import sys
from pathlib import Path

import cv2
import pytest
import torch
from helpers.support import ROOT, load_tool, run_forked, run_script, run_tool
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

TOOLS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'tools').rglob('*.py')
    if re.search(r'^def main\(|import main$', path.read_text(), re.M)
)
# The tests of these start them in processes of their own.
STARTED = ('train', 'test', 'report', 'doctor', 'extract_features', 'make_quickstart')
STARTED += ('prepare_ucf101',)
WRONG = 'configs/absent.py'
CONFIG = 'configs/mobilenet_convlstm_quickstart.py'


def state():
    """What a tool must leave as it was."""
    return dict(
        environment=dict(os.environ),
        folder=os.getcwd(),
        argv=sys.argv,
        path=list(sys.path),
        signals=[signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        handlers=list(logging.getLogger().handlers),
        level=logging.getLogger().level,
        scopes=list(DefaultScope._instance_dict),
        loggers=list(MMLogger._instance_dict),
        threads=(torch.get_num_threads(), cv2.getNumThreads()),
        grad=torch.is_grad_enabled(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        random=torch.get_rng_state().tolist(),
        output=(sys.stdout, sys.stderr),
    )


@pytest.mark.parametrize('path', TOOLS)
def test_an_import_does_no_work(path, capfd, monkeypatch):
    tool = load_tool(path)  # libraries may change what they like when they are imported first
    package, _, name = tool.__name__.rpartition('.')
    if package:  # other tests go on with this one
        monkeypatch.setattr(sys.modules[package], name, tool)
    monkeypatch.delitem(sys.modules, tool.__name__)
    capfd.readouterr()
    before = state()
    assert load_tool.__wrapped__(path).main
    assert state() == before
    assert capfd.readouterr() == ('', '')


@pytest.mark.slow
@pytest.mark.parametrize(
    'path', [p for p in TOOLS if not re.search(f'/({"|".join(STARTED)}).py', p)]
)
def test_help_of_the_script(path):
    done = run_forked(path, '--help', call=run_script)
    assert done.returncode == 0, done.stderr
    assert 'usage: ' in done.stdout and '--traceback' in done.stdout
    assert not done.stderr


def fake(folder, body):
    """A tool whose function holds ``body``."""
    path = folder / 'fake.py'
    path.write_text(
        'import argparse, os, sys\n'
        'from cnnlstm_mm.cli import run_command\n'
        'from cnnlstm_mm.options import check_int\n'
        f'def tool(args):\n    {body}\n'
        'def main(argv=None):\n'
        "    return run_command(tool, argparse.ArgumentParser('fake.py'), argv)\n"
    )
    return path


def test_the_exit_code_of_a_tool_is_passed_on(tmp_path):
    done = run_tool(fake(tmp_path, 'return 3'))
    assert (done.returncode, done.stdout, done.stderr) == (3, '', '')


@pytest.mark.parametrize(
    'body, message',
    [
        ('check_int(size="x")', "fake.py: error: size: expected an int from 1 to 1000000, got 'x'"),
        ('open("absent.txt")', "fake.py: error: [Errno 2] No such file or directory: 'absent.txt'"),
        ('args.unknown', None),  # a fault of the tool itself
        ('int("x")', None),  # raised by Python
        ('import torch; torch.zeros(2) @ torch.zeros(3)', None),  # raised by a library
        ('import torch; torch.nn.Linear(2, 2)(torch.zeros(3))', None),
    ],
)
def test_only_an_expected_error_is_one_sentence(tmp_path, body, message):
    path = fake(tmp_path, body)
    done = run_tool(path)
    whole = run_tool(path, '--traceback')
    assert (
        whole.returncode == 1 and 'Traceback' in whole.stderr and 'fake.py", line' in whole.stderr
    )
    if message is None:
        assert done.returncode == 1 and 'Traceback' in done.stderr
    else:
        assert done.returncode == 2 and done.stderr.startswith(message)
        assert done.stderr.count('\n') == 1


def test_a_tool_that_changes_everything_is_cleaned_up_after(tmp_path):
    """Of ``run_tool`` of these tests."""
    path = fake(
        tmp_path,
        'import signal, torch, cv2, logging, random; os.environ["LOCAL_RANK"] = "7"; '
        'os.chdir("/"); sys.path.append("x"); torch.set_num_threads(2); cv2.setNumThreads(3); '
        'torch.set_grad_enabled(False); torch.use_deterministic_algorithms(True); '
        'signal.signal(signal.SIGTERM, signal.SIG_IGN); logging.basicConfig(level=1, force=True); '
        'torch.manual_seed(9); from mmengine.registry import init_default_scope; '
        'init_default_scope("other"); from mmengine.logging import MMLogger; '
        'MMLogger.get_instance("mine").info("logged"); print("printed"); '
        'os.system("echo of a child")',
    )
    before = state()
    done = run_tool(path)
    assert state() == before
    assert done.returncode == 0 and 'logged' in done.stdout + done.stderr
    assert 'printed\n' in done.stdout and 'of a child\n' in done.stdout


# Wrong arguments of each tool, and a word of the sentence that must come before any work.
WRONG_ARGUMENTS = [
    ('tools/train.py', 'absent.py', 'absent.py'),
    ('tools/train.py', f'{CONFIG} --allow-changed lr', '--resume'),
    (
        'tools/train.py',
        f'{CONFIG} --cfg-options train_dataloader.dataset.ann_file={{new}}/list.txt',
        'are missing',
    ),
    ('tools/test.py', 'absent.py absent.pth', 'absent.py'),
    ('tools/test.py', f'{CONFIG} absent.pth', 'are missing'),
    ('tools/test.py', f'{CONFIG} absent.pth --dump out.txt', '.pkl'),
    ('tools/predict.py', 'absent.py absent.pth {here}', 'absent.py'),
    ('tools/predict.py', f'{CONFIG} absent.pth {{here}} --jsonl {{new}}/a.jsonl', 'got none in'),
    ('tools/predict.py', f'{CONFIG} absent.pth {{csv}} --csv {{new}}/a.csv', 'a.csv'),
    ('tools/predict.py', f'{CONFIG} absent.pth tests/conftest.py', 'absent.pth'),
    ('tools/predict.py', f'{CONFIG} absent.pth {{here}} --topk 0', '--topk'),
    ('tools/predict.py', f'{CONFIG} absent.pth {{here}} --batch-size 0', '--batch-size'),
    ('tools/predict.py', f'{CONFIG} absent.pth {{here}} --workers -1', '--workers'),
    ('tools/extract_features.py', 'absent.py --out {new}', 'absent.py'),
    ('tools/extract_features.py', f'{CONFIG} --out {{new}} --shard-clips 0', '--shard-clips'),
    ('tools/extract_features.py', f'{CONFIG} --out {{new}} --batch-size 0', '--batch-size'),
    ('tools/extract_features.py', f'{CONFIG} --out {{new}} --num-workers -1', '--num-workers'),
    ('tools/extract_features.py', f'{CONFIG} --out {{new}} --train-views 0', '--train-views'),
    ('tools/merge_checkpoint.py', 'absent.py a.pth --features {new} --out {new}', 'absent.py'),
    ('tools/merge_checkpoint.py', f'{CONFIG} a.pth --features {{new}} --out {{new}}', 'manifest'),
    ('tools/export_onnx.py', f'{CONFIG} a.pth --mode step --out {{new}}', '.onnx'),
    ('tools/export_onnx.py', f'{CONFIG} a.pth --mode step --opset 3', '--opset'),
    ('tools/export_onnx.py', f'{CONFIG} a.pth --mode step --int8', '--calibration'),
    ('tools/export_onnx.py', f'{CONFIG} a.pth --mode step --video absent.mp4', 'absent.mp4'),
    ('tools/export_onnx.py', 'absent.py a.pth --mode step --out {new}/a.onnx', 'absent.py'),
    ('tools/export_onnx.py', f'{CONFIG} absent.pth --mode clip', 'absent.pth'),
    ('tools/export_web.py', 'absent.onnx --out {new}', 'absent.onnx'),
    ('tools/export_web.py', f'{CONFIG} --out {{new}}', 'CHECKPOINT'),
    ('tools/convert_keras_weights.py', 'absent.h5 {new}', 'absent.h5'),
    ('tools/convert_checkpoint.py', 'absent.pth {new}/a.pth', 'absent.pth'),
    ('tools/report.py', '', 'work directories'),
    ('tools/report.py', 'absent', 'absent'),
    ('tools/report.py', '--from absent.json', 'absent.json'),
    ('tools/report.py', 'absent --check', '--readme'),
    ('tools/run_benchmark.py', 'absent.yml', 'absent.yml'),
    ('tools/run_benchmark.py', 'configs/benchmarks/here.yml --jobs 0', '--jobs'),
    ('tools/run_benchmark.py', 'configs/benchmarks/here.yml --only nothing', '--only'),
    ('tools/stream_demo.py', 'absent.py absent.pth absent.mp4', 'absent'),
    ('tools/analysis/complexity.py', 'absent.py', 'absent.py'),
    ('tools/analysis/activity.py', 'absent.mp4 --out {new}/a.json', 'absent.mp4'),
    ('tools/analysis/early_recognition.py', 'absent.py absent.pth', 'absent'),
    ('tools/analysis/events.py', 'absent.csv absent.jsonl', 'absent'),
    ('tools/analysis/events.py', '{csv} {csv} --overlap 2', '--overlap'),
    ('tools/analysis/temporal_probe.py', 'absent.py absent.pth', 'absent'),
    ('tools/data/make_quickstart.py', '--out {new} --size 33', 'size'),
    ('tools/data/make_quickstart.py', '--out {new} --workers 0', '--workers'),
    ('tools/data/make_embeddings_quickstart.py', '--out {new} --dims 0', '--dims'),
    ('tools/data/make_embeddings_quickstart.py', '--out {new} --seed -1', '--seed'),
    ('tools/data/prepare_ucf101.py', 'absent.rar absent.zip --out {new}', 'absent.rar'),
    ('tools/data/prepare_ucf101.py', '{here} {here} --out {new} --limit 0', '--limit'),
    ('tools/data/prepare_ucf101.py', '{here} {here} --out {new} --workers 0', '--workers'),
    ('tools/data/prepare_hmdb51.py', 'absent.rar absent.rar --out {new}', 'absent.rar'),
    ('tools/data/prepare_hmdb51.py', '{here} {here} --out {new} --workers -1', '--workers'),
    ('tools/data/prepare_kinetics.py', 'val absent a.csv --data kinetics400 --out {new}', 'absent'),
    (
        'tools/data/prepare_kinetics.py',
        'val {here} {csv} --data kinetics400 --out {new} --short-side 2',
        '--short-side',
    ),
    ('tools/data/prepare_kinetics.py', 'val {here} {csv} --data kinetics400 --out {new}', 'column'),
    ('tools/analysis/attention.py', 'absent.mp4 absent.py absent.pth --out {new}', 'absent'),
    ('tools/caption.py', 'absent.mp4 absent.py absent.pth', 'absent'),
    ('tools/caption.py', f'{{here}} {CONFIG} absent.pth', ''),
    ('tools/export_captions.py', 'absent.py absent.pth --out {new}/a', 'absent'),
    ('tools/vocabulary.py', 'absent.jsonl --out {new}/v.json', 'absent.jsonl'),
    ('tools/data/make_caption_quickstart.py', '--out {new} --size 33', 'size'),
    ('tools/data/prepare_folder.py', 'absent --out {new}', 'absent'),
    ('tools/data/prepare_folder.py', '{here} --out {new}', 'here'),
    *(
        (f'tools/data/prepare_{name}.py', 'absent absent --out {new}', 'absent')
        for name in ('diving48', 'jester', 'sthv2', 'msvd', 'msrvtt')
    ),
    ('tools/data/prepare_rwf2000.py', 'absent --out {new}', 'absent'),
    ('tools/data/prepare_vatex.py', 'absent --train absent.json --out {new}', 'absent'),
]


def test_every_tool_has_a_wrong_argument():
    checked = {path for path, *_ in WRONG_ARGUMENTS}
    others = {'tools/doctor.py', 'tools/make_recipes.py', 'tools/run_versions.py'}
    assert set(TOOLS) - checked <= others


@pytest.mark.slow
@pytest.mark.parametrize('path, line, word', WRONG_ARGUMENTS)
def test_wrong_arguments_are_a_sentence_before_any_work(tmp_path, path, line, word):
    (tmp_path / 'here').mkdir()
    (tmp_path / 'a.csv').write_text('no,columns\n')
    places = dict(here=tmp_path / 'here', csv=tmp_path / 'a.csv', new=tmp_path / 'new')
    work_dirs = ['--work-dir', tmp_path / 'new'] if path[6:] in ('train.py', 'test.py') else []
    done = run_tool(path, *line.format(**places).split(), *work_dirs)
    assert done.returncode == 2, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr and f'{Path(path).name}: error: ' in done.stderr
    assert word in done.stderr
    assert not (tmp_path / 'new').exists()
