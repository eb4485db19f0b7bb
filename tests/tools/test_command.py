"""The command ``cnnlstm-mm``: its subcommands, its help, and recipes by name."""

import re
import subprocess
import sys

import pytest
from helpers.support import ROOT, load_tool, process_state, run_python
from mmengine.config import Config

from cnnlstm_mm.__main__ import COMMANDS, main, module_of, summary
from cnnlstm_mm.config import read_config
from cnnlstm_mm.resources import find_config, recipes

HOME = ROOT / 'cnnlstm_mm/commands'
RECIPE = 'mobilenet_convlstm_ucf101'


def call(*words):
    with process_state():
        return main(list(words))


def test_every_module_with_a_main_is_a_command():
    modules = {
        '.'.join(path.relative_to(HOME).with_suffix('').parts)
        for path in HOME.rglob('*.py')
        if re.search(r'^def main\(', path.read_text(), re.M)
    }
    assert modules == set(map(module_of, COMMANDS))


def test_every_script_of_tools_is_a_command():
    scripts = {
        load_tool(path.relative_to(ROOT).as_posix()).__name__
        for path in (ROOT / 'tools').rglob('*.py')
    } - {'tool_make_recipes', 'tool_run_versions'}
    known = {f'cnnlstm_mm.commands.{module_of(name)}' for name in COMMANDS}
    assert scripts <= known and len(scripts) > 20


@pytest.mark.parametrize('words', [('--help',), ('prepare',), ('configs',), ('nothing',)])
def test_what_needs_no_model_imports_none(words):
    code = (
        'import sys; from cnnlstm_mm.__main__ import main; main(sys.argv[1:]); print(sys.modules)'
    )
    done = run_python('-c', code, *words)
    assert done.returncode == 0, done.stderr
    assert "'torch'" not in done.stdout and "'mmengine'" not in done.stdout


def test_help_lists_all_commands(capsys):
    assert call('--help') == 0
    text = capsys.readouterr().out
    assert all(f'  {name} ' in text and summary(name) in text for name in COMMANDS)
    assert call('prepare') == 0
    text = capsys.readouterr().out
    assert 'ucf101' in text and 'train' not in text
    assert call('--version') == 0 and capsys.readouterr().out.startswith('cnnlstm-mm ')


@pytest.mark.parametrize(
    'words, close', [('trian', 'take train'), ('prepare ufc101', 'prepare ucf101'), ('x', '--help')]
)
def test_an_unknown_command_suggests_close_ones(words, close, capsys):
    assert call(*words.split()) == 2
    error = capsys.readouterr().err
    assert f'expected a command, got {words!r}; fix: ' in error and close in error


def test_a_command_is_the_main_of_its_module(capsys):
    """With its exit code, and its name in its messages."""
    assert call('configs', 'no such recipe') == 1
    assert call('train', 'absent') == 2
    assert 'cnnlstm-mm train: error: expected a config file' in capsys.readouterr().err
    assert call('configs', 'convlstm', 'hmdb51') == 0
    assert capsys.readouterr().out.split() == [
        name for name in recipes() if 'convlstm' in name and 'hmdb51' in name
    ]


def test_recipes_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(ROOT / f'configs/{RECIPE}.py')
    for given in (RECIPE, f'{RECIPE}.py', f'configs/{RECIPE}.py', path):
        assert find_config(given) == path
    assert read_config(RECIPE).model == Config.fromfile(path).model
    own = tmp_path / f'{RECIPE}.py'  # a file of this name comes first
    own.write_text('')
    assert find_config(own.name) == own.name
    for wrong in (f'other/{RECIPE}.py', 'mobilnet_convlstm_ucf101'):
        with pytest.raises(FileNotFoundError, match=f'got {wrong}; fix: take .*{RECIPE}'):
            find_config(wrong)
    with pytest.raises(FileNotFoundError, match='`cnnlstm-mm configs` lists'):
        find_config('xyz')


@pytest.mark.slow
def test_as_a_module_and_as_a_script():
    usages = []
    for script in (('tools/analysis/events.py',), ('-m', 'cnnlstm_mm', 'events')):
        done = run_python(*script, '--help', env=dict(COLUMNS='200'))
        assert done.returncode == 0, done.stderr
        usages.append(done.stdout[done.stdout.index('Score') :])
    assert usages[0] == usages[1]


def test_a_script_needs_no_installation(tmp_path):
    """Of this package; -I -S hide the environment, and the doctor needs Python alone."""
    command = [sys.executable, '-I', '-S', str(ROOT / 'tools/doctor.py'), '--help']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and 'usage: doctor.py' in done.stdout, done.stderr
