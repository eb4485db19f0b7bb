"""README and site: size, links, code blocks, tutorials and the build."""

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.support import ROOT
from mmengine.registry import Registry, init_default_scope
from mmengine.runner.checkpoint import get_mmcls_models

from cnnlstm_mm.__main__ import COMMANDS, find_command
from mmaction.registry import MODELS

DOCS = ROOT / 'docs'
sys.path.insert(0, str(DOCS / '_ext'))
import option_tables

PAGES = sorted([ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *DOCS.rglob('*.md')])
PAGES = [page for page in PAGES if '_build' not in page.parts]
TUTORIALS = DOCS / 'tutorials'
FENCE = re.compile(r'^( *)```(.*?)\n(.*?)^\1```', re.M | re.S)
# What a script of tools/ is called as a command, where its name is another one.
SCRIPTS = {
    'stream_demo': 'stream',
    'extract_features': 'extract',
    'merge_checkpoint': 'merge',
    'export_onnx': 'export',
    'run_benchmark': 'benchmark',
    'convert_keras_weights': 'convert keras',
    'convert_checkpoint': 'convert checkpoint',
    'data/make_embeddings_quickstart': 'prepare embeddings',
    'analysis/events': 'events',
}


def blocks(page):
    """(language, text) of the code blocks of a page."""
    for indent, language, text in FENCE.findall(page.read_text()):
        yield language.strip(), re.sub(f'^{indent}', '', text, flags=re.M)


def slug(heading):
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')


def test_the_readme_is_short():
    text = (ROOT / 'README.md').read_bytes()
    assert len(text) <= 8192
    assert b'python tools/train.py configs/mobilenet_convlstm_ucf101.py' in text


def test_no_link_is_dead():
    dead = []
    for page in PAGES:
        text = FENCE.sub('', page.read_text())
        for target in re.findall(r'\]\(([^)\s]+)\)', re.sub('`[^`\n]*`', '', text)):
            if re.match(r'\w+:', target):
                continue
            name, _, anchor = target.partition('#')
            path = (page.parent / name).resolve() if name else page
            found = path.exists()
            if found and anchor:
                found = anchor in {slug(h) for h in re.findall('^#+ (.*)', path.read_text(), re.M)}
            if not found:
                dead.append(f'{page.relative_to(ROOT)}: {target}')
    assert not dead


def test_the_site_has_every_page():
    index = (DOCS / 'index.md').read_text() + (DOCS / 'reference/api/index.md').read_text()
    for page in DOCS.rglob('*.md'):
        name = page.relative_to(DOCS).with_suffix('').as_posix()
        if name != 'index' and '_build' not in name:
            assert re.search(rf'^({name}|{name.removeprefix("reference/api/")})$', index, re.M), (
                name
            )


def test_the_reference_has_every_name_of_streaming():
    from cnnlstm_mm import streaming

    text = (DOCS / 'reference/api/streaming.md').read_text()
    assert sorted(re.findall(r'\.(\w+)$', text, re.M)) == sorted(streaming.__all__)


def command_lines(text):
    """The words of each command of a shell block; lines that go on are joined."""
    for line in text.replace('\\\n', ' ').splitlines():
        for part in re.split(r'&&|\|\||;', line.split(' #')[0].strip()):
            try:
                words = shlex.split(part)
            except ValueError:
                continue
            while words and re.fullmatch(r'\w+=\S*', words[0]):
                words.pop(0)
            if words:
                yield words


def as_command(words):
    """The command and its arguments, or None if the line calls another program."""
    if words[0] == 'cnnlstm-mm':
        return find_command(words[1:]), words[1:]
    if words[0] in ('python', 'python3') and len(words) > 1 and words[1].startswith('tools/'):
        script = ROOT / words[1]
        assert script.is_file(), words[1]
        name = script.relative_to(ROOT / 'tools').with_suffix('').as_posix()
        if name in SCRIPTS:
            command = SCRIPTS[name]
        else:
            command = name.replace('data/make_', 'data/prepare_').removeprefix('data/')
            command = command.replace('prepare_', 'prepare ').replace('analysis/', 'analysis ')
            command = command.replace('_', '-')
        return (command, [*command.split(), *words[2:]]) if command in COMMANDS else None
    return None


def shell_blocks():
    for page in PAGES:
        for language, text in blocks(page):
            if language in ('', 'bash', 'sh', 'console'):
                yield page, text


def test_commands_take_what_the_pages_give_them(capsys, monkeypatch, tmp_path):
    """Each command of a page is parsed by the command's own parser, without being run."""
    monkeypatch.chdir(ROOT)
    parsed = 0
    for page, text in shell_blocks():
        for words in command_lines(text):
            found = as_command(words)
            if found is None:
                if words[0] == 'python' and len(words) > 1 and words[1].endswith('.py'):
                    assert (ROOT / words[1]).is_file(), f'{page}: {words[1]}'
                continue
            command, argv = found
            if words[1:2] in (['--help'], ['--version']) or argv[-1:] == ['...']:
                continue
            assert command, f'{page.relative_to(ROOT)}: {words}'
            argv = [word for word in argv[len(command.split()) :] if word not in ('...', '|')]
            argv = [word.replace('train|val|test', 'train') for word in argv]
            try:
                option_tables.parse(command, argv)
            except SystemExit as stop:
                said = capsys.readouterr().err
                assert not stop.code, f'{page.relative_to(ROOT)}: {" ".join(words)}\n{said}'
            parsed += 1
    assert parsed > 60


def test_python_blocks_compile_and_import():
    """Names that a page imports from the package exist, and each block is Python."""
    for page in PAGES:
        for language, text in blocks(page):
            if language != 'python':
                continue
            where = str(page.relative_to(ROOT))
            text = text.replace(', ...)', ')')
            try:
                tree = ast.parse(text, where)
            except SyntaxError:  # arguments of a call
                tree = ast.parse(f'dict(\n{text}\n)', where)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module.startswith('cnnlstm_mm'):
                    module = importlib.import_module(node.module)
                    for name in node.names:
                        assert hasattr(module, name.name), f'{where}: {name.name}'
                if (
                    isinstance(node, ast.keyword)
                    and node.arg == 'type'
                    and page.name != 'CONTRIBUTING.md'
                ):
                    kind = ast.literal_eval(node.value)
                    assert '.' in kind or known(kind), f'{where}: {kind}'


def known(kind):
    """Whether a registered class has this name."""
    import mmengine._strategy

    import mmaction.datasets
    import mmaction.models

    places = [*vars(mmengine.registry).values(), *vars(mmaction.registry).values()]
    return any(place.get(kind) for place in places if isinstance(place, Registry))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A user's folder with the tutorials' files, the command, and weights as if downloaded."""
    folder = tmp_path_factory.mktemp('tutorials')
    cache = folder / 'torch/hub/checkpoints'
    cache.mkdir(parents=True)
    for file in TUTORIALS.iterdir():
        if file.suffix in ('.sh', '.py'):
            shutil.copy(file, folder)
    command = folder / 'bin/cnnlstm-mm'
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cnnlstm_mm "$@"\n')
    command.chmod(0o755)
    init_default_scope('mmaction')
    name = Path(get_mmcls_models()['mobilenet_v2']).name
    weights = MODELS.build(dict(type='MobileNetV2')).state_dict()
    torch.save({f'backbone.{key}': value for key, value in weights.items()}, cache / name)
    return folder


def run(folder, *words):
    env = os.environ | dict(
        PATH=f'{folder}/bin{os.pathsep}{os.environ["PATH"]}', TORCH_HOME=str(folder / 'torch')
    )
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_tutorials(folder):
    """All of them, in the order of the site; each goes on where the first one ended."""
    shell = ('bash', '-e')
    run(folder, *shell, 'own_data.sh')
    assert len((folder / 'answers.csv').read_text().splitlines()) == 9
    run(folder, *shell, 'cache.sh')
    run(folder, *shell, 'streaming.sh')
    assert len((folder / 'scores.jsonl').read_text().splitlines()) == 8
    assert (folder / 'scored.mp4').stat().st_size
    assert 'best class: ' in run(folder, sys.executable, 'streaming.py')
    run(folder, *shell, 'onnx.sh')
    assert run(folder, sys.executable, 'onnx_scores.py').splitlines()[-1].split()[0] in (
        'RightThenUp', 'RightThenDown', 'UpThenRight'
    )  # fmt: skip
    run(folder, *shell, 'add_neck.sh')
    assert (folder / 'my_scores.jsonl').is_file()


@pytest.mark.slow
def test_the_tutorial_of_captions(folder):
    run(folder, 'bash', '-e', 'captions.sh')


def test_every_file_of_the_tutorials_is_shown_and_run():
    shown = {name for page in TUTORIALS.glob('*.md') for name in literal(page)}
    files = {p.name for p in TUTORIALS.iterdir() if p.suffix in ('.sh', '.py')}
    assert shown == files
    ran = Path(__file__).read_text() + (TUTORIALS / 'add_neck.sh').read_text()
    for name in files - {'my_necks.py'}:  # named by my_config.py
        assert ran.count(name), name


def literal(page):
    return re.findall(r'```\{literalinclude\} (\S+)', page.read_text())


@pytest.mark.slow
def test_the_readme_in_a_fresh_clone(tmp_path):
    """What needs neither a network nor data: the check, and the training that names its data."""
    if not (ROOT / '.git').exists():
        pytest.skip('not a checkout')
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '--quiet', '--local', ROOT, clone], check=True)
    readme = (clone / 'README.md').read_text()
    env = os.environ | dict(PYTHONPATH=str(clone))

    def call(line, *words):
        assert line in readme
        return subprocess.run(
            [sys.executable, *words], cwd=clone, env=env, capture_output=True, text=True
        )

    done = call('cnnlstm-mm doctor', '-m', 'cnnlstm_mm', 'doctor')
    assert done.returncode in (0, 1) and 'what to do' in done.stdout, done.stderr
    train = ('tools/train.py', 'configs/mobilenet_convlstm_ucf101.py')
    done = call(f'python {" ".join(train)}', *train)
    assert done.returncode == 2 and 'Traceback' not in done.stderr, done.stderr
    assert 'fix: ' in done.stderr


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for name in ('sphinx', 'myst_parser', 'furo'):
        pytest.importorskip(name)
    env = os.environ | dict(PYTHON=sys.executable)
    done = subprocess.run(
        ['bash', ROOT / 'tools/build_docs.sh', tmp_path / 'html'],
        env=env, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / 'html/reference/commands.html').read_text()
    assert page.count('<h2>') == len(COMMANDS) and '--cache-features' in page
    assert 'StreamingRecognizer' in (tmp_path / 'html/reference/api/streaming.html').read_text()
