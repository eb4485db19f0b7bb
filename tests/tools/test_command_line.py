"""What all tools have in common: ``main(argv)``, errors in one sentence, nothing left behind."""

import logging
import os
import re
import signal
import sys

import cv2
import pytest
import torch
from helpers.support import ROOT, load_tool, run_python, run_tool
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

TOOLS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'tools').rglob('*.py')
    if '\ndef main(' in path.read_text()
)
# The tests of these start them in processes of their own.
STARTED = ('train', 'test', 'report', 'doctor', 'extract_features', 'make_quickstart')
STARTED += ('prepare_ucf101',)
WRONG = 'configs/absent.py'


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
    monkeypatch.setitem(sys.modules, tool.__name__, tool)  # other tests go on with this one
    capfd.readouterr()
    before = state()
    assert load_tool.__wrapped__(path).main
    assert state() == before
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize(
    'path', [p for p in TOOLS if not re.search(f'/({"|".join(STARTED)}).py', p)]
)
def test_help_of_the_script(path):
    done = run_python(path, '--help')
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
