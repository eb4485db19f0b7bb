"""README and site: size, links, code blocks, tutorials and the build."""

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from helpers.caption_models import vocabulary
from helpers.support import ROOT
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope
from mmengine.runner.checkpoint import get_mmcls_models

from cnnlstm_mm.__main__ import COMMANDS, find_command
from cnnlstm_mm.layers import ConvLSTM
from cnnlstm_mm.models import necks
from mmaction.registry import MODELS

DOCS = ROOT / 'docs'
sys.path.insert(0, str(DOCS / '_ext'))
import option_tables

sys.path.insert(0, str(DOCS / 'pictures'))
import draw

PAGES = sorted([ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *DOCS.rglob('*.md')])
PAGES = [page for page in PAGES if '_build' not in page.parts]
TUTORIALS = DOCS / 'tutorials'
sphinx_needed = pytest.mark.skipif(
    any(find_spec(name) is None for name in ('sphinx', 'myst_parser', 'furo')),
    reason='the extra docs is not installed',
)
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


PRIVATE = ('commands', 'lab', 'storage', 'layers.gpu')  # rooms that nobody imports


def test_the_reference_has_the_public_api():
    """Each name of an ``__all__`` and each registered class."""
    text = ''.join(page.read_text() for page in (DOCS / 'reference/api').glob('*.md'))
    modules = set(re.findall('automodule:: (.+)', text))
    classes = {
        name.rpartition('.')[2] for name in re.findall('auto(?:class|function):: (.+)', text)
    }
    homes = [importlib.import_module(name) for name in modules]
    classes |= {name for home in homes for name in getattr(home, '__all__', [])}
    package, checked = ROOT / 'cnnlstm_mm', 0
    for path in package.rglob('*.py'):
        parts = path.relative_to(package).with_suffix('').parts
        parts = parts[:-1] if parts[-1] == '__init__' else parts
        name = '.'.join(('cnnlstm_mm', *parts))
        if not parts or any(f'{".".join(parts)}.'.startswith(f'{room}.') for room in PRIVATE):
            continue
        if '__all__' in path.read_text():
            module = importlib.import_module(name)
            rooms = {one for one in module.__all__ if isinstance(getattr(module, one), ModuleType)}
            assert name in modules or {*module.__all__} <= rooms | classes, name
            checked += 1
    assert checked > 10
    for kind in registered():
        if kind.__module__ == 'cnnlstm_mm.compat':  # stand-ins for classes of MMAction2
            continue
        assert kind.__name__ in classes or kind.__module__ in modules, kind


def registries():
    """Those of mmengine and MMAction2, filled."""
    import mmengine._strategy

    import mmaction.datasets
    import mmaction.models

    places = [*vars(mmengine.registry).values(), *vars(mmaction.registry).values()]
    return [place for place in places if isinstance(place, Registry)]


def registered():
    """The package's classes that configs find by name."""
    kinds = {kind for place in registries() for kind in place.module_dict.values()}
    return [kind for kind in kinds if kind.__module__.startswith('cnnlstm_mm.')]


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


def test_commands_in_sentences_exist():
    """Their files are there, and their options are those of the command or of the script."""
    checked = 0
    for page in PAGES:
        where = page.relative_to(ROOT)
        for code in re.findall('`([^`\n]+)`', FENCE.sub('', page.read_text())):
            if not code.startswith(('python ', 'bash ', 'cnnlstm-mm ')) or 'NAME' in code:
                continue
            for words in command_lines(code):
                command, argv = as_command(words) or (None, words[2:])
                options = {word.partition('=')[0] for word in argv if word.startswith('--')}
                if command:
                    known = option_tables.parser_of(command)._option_string_actions
                elif words[0] == 'cnnlstm-mm':
                    assert words[1] == 'COMMAND', f'{where}: {code}'
                    continue
                else:
                    assert (ROOT / words[1]).is_file(), f'{where}: {code}'
                    known = (ROOT / words[1]).read_text()
                assert all(option in known for option in options), f'{where}: {code}'
                checked += 1
    assert checked > 40


def test_no_block_of_code_escapes():
    """A block without a language holds commands or their output; others are named here."""
    known = {'', 'bash', 'python', 'toctree', 'eval-rst', 'literalinclude', 'include', 'image'}
    for page in PAGES:
        for language, _ in blocks(page):
            name = re.sub(r'^\{(.+?)\}.*', r'\1', language)
            assert name in known, f'{page.relative_to(ROOT)}: {language}'
    for page, text in shell_blocks():
        for words in command_lines(text):
            if words[0] == 'bash':
                script = next(word for word in words[1:] if not word.startswith('-'))
                assert (ROOT / script).is_file(), f'{page.relative_to(ROOT)}: {script}'


# Blocks that call these are run by other tests, on models and files that these make.
ELSEWHERE = {
    'StreamingCaptioner': 'captions/test_caption_streams.py',
    'OnnxStreamingCaptioner': 'captions/test_caption_streams.py',
    'OnnxStreamingRecognizer': '../docs/tutorials/onnx_scores.py',
    'MMAction2Inferencer': 'tools/test_inferencer.py',
    'from_pretrained': 'test_sharing.py',
}


def test_python_blocks_run(tmp_path, monkeypatch):
    """With frames, a camera and a model of random weights; configs are joined."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_stream_quickstart.py')
    cfg.dump(tmp_path / 'config.py')
    init_default_scope('mmaction')
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'epoch_5.pth')
    monkeypatch.chdir(tmp_path)
    words = Path('data/mine/vocabulary.json')
    words.parent.mkdir(parents=True)
    words.write_text(vocabulary().text)
    ran, seen = 0, set()
    for page in PAGES:
        for language, text in blocks(page):
            text = text.replace(', ...)', ')')
            elsewhere = [name for name in ELSEWHERE if f'{name}(' in text]
            if language != 'python' or text in seen:
                continue
            seen.add(text)
            if elsewhere:
                for name in elsewhere:
                    assert name in (ROOT / 'tests' / ELSEWHERE[name]).read_text(), name
            elif text.startswith('_base_'):
                (tmp_path / 'block.py').write_text(text)
                MODELS.build(Config.fromfile(tmp_path / 'block.py').model)
            else:
                try:
                    code = compile(text, page, 'exec')
                except SyntaxError:  # arguments of a call
                    code = compile(f'dict(\n{text}\n)', page, 'exec')
                exec(code, names_of_blocks())
            ran += not elsewhere
    assert ran > 8


def names_of_blocks():
    """What the pages' blocks take as given, new for each."""
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (3, 48, 64, 3), np.uint8)
    return dict(
        torch=torch,
        nn=torch.nn,
        MODELS=Registry('models of the pages'),
        RecurrentNeck=necks.RecurrentNeck,
        ConvLSTM=ConvLSTM,
        camera=frames,
        frames=frames,
        chunk=np.stack([frames, frames], 1),
        mask=torch.tensor([True, False, False]),
        x=torch.randn(1, 2, 256, 3, 3),
        h=torch.zeros(4, 1, 128, 3, 3),
        c=torch.zeros(4, 1, 128, 3, 3),
    )


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
    return any(place.get(kind) for place in registries())


@pytest.fixture(scope='module')
def folder(tmp_path_factory, forks):
    """A user's folder with the tutorials' files, the command, and weights as if downloaded."""
    folder = tmp_path_factory.mktemp('tutorials')
    cache = folder / 'torch/hub/checkpoints'
    cache.mkdir(parents=True)
    for file in TUTORIALS.iterdir():
        if file.suffix in ('.sh', '.py'):
            shutil.copy(file, folder)
    command = folder / 'bin/cnnlstm-mm'
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {forks} -m cnnlstm_mm "$@"\n')
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


def test_pictures_are_those_of_their_script(tmp_path):
    """And can be read at half size; pages show each in both themes."""
    draw.main(tmp_path)
    shown = ''.join(page.read_text() for page in PAGES)
    drawn = sorted(tmp_path.iterdir())
    assert len(drawn) == 2 * len(draw.PICTURES)
    for path in drawn:
        text = path.read_text()
        assert text == (DOCS / 'pictures' / path.name).read_text(), path.name
        assert min(map(int, re.findall('font-size="(\\d+)"', text))) >= 16
        places = [float(x) for x in re.findall('<text x="([\\d.]+)"', text)]
        assert 0 <= min(places) and max(places) < draw.WIDTH
        theme = path.stem.rpartition('-')[2]
        assert re.search(rf'{path.name}\n:alt: .+\n:class: only-{theme}\n', shown), path.name


@sphinx_needed
@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('RecurrentNeck', True),
        ('cnnlstm_mm.layers.stack.RecurrentStack', True),
        ('mmengine.hooks.hook.Hook', True),
        ('RecurrentNek', False),
        ('mmengine.hooks.hook.Hok', False),
    ],
)
def test_a_name_that_nobody_has_ends_the_build(tmp_path, name, found):
    """Without the network: the inventories are in the repository."""
    from sphinx.cmd.build import main

    (tmp_path / 'conf.py').write_text(
        f'import sys; sys.path.insert(0, {str(DOCS / "_ext")!r})\n'
        "extensions = ['sphinx.ext.intersphinx', 'references']; nitpicky = True\n"
        "intersphinx_mapping = dict(mmengine=('https://mmengine', "
        f'{str(DOCS / "inventories/mmengine.inv")!r}))\n'
    )
    (tmp_path / 'index.rst').write_text(f'Page\n====\n\n:py:class:`{name}`\n')
    code = main(['-W', '-q', '-b', 'html', str(tmp_path), str(tmp_path / 'html')])
    assert (code == 0) == found


class Anchors(HTMLParser):
    """Links and ids of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ('href', 'src'):
                self.links.add(value)
            elif name == 'id':
                self.ids.add(value)


def dead_links(html):
    """Links of built pages to files or anchors that are not there."""
    pages = {path: Anchors(path.read_text()) for path in html.rglob('*.html')}
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = unquote(link).partition('#')
            if re.match(r'\w+:|//', link):
                continue
            file = (path.parent / target.partition('?')[0]).resolve() if target else path
            if not file.exists():
                yield f'{path.relative_to(html)}: {link}'
            elif anchor and file in pages and anchor not in pages[file].ids:
                yield f'{path.relative_to(html)}: {link}'


def test_dead_links_are_found(tmp_path):
    (tmp_path / 'a.html').write_text('<a href="b.html#there"></a><a href="b.html#gone"></a>')
    (tmp_path / 'b.html').write_text('<p id="there"><img src="c.png"><a href="#there">')
    assert sorted(dead_links(tmp_path)) == ['a.html: b.html#gone', 'b.html: c.png']


@pytest.mark.slow
@sphinx_needed
def test_the_site_builds_without_a_warning(tmp_path):
    env = os.environ | dict(PYTHON=sys.executable)
    done = subprocess.run(
        ['bash', ROOT / 'tools/build_docs.sh', tmp_path / 'html'],
        env=env, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert not [*dead_links(tmp_path / 'html')]
    page = (tmp_path / 'html/reference/commands.html').read_text()
    assert page.count('<h2>') == len(COMMANDS) and '--cache-features' in page
    assert 'StreamingRecognizer' in (tmp_path / 'html/reference/api/streaming.html').read_text()
    built = ''.join(path.read_text() for path in (tmp_path / 'html/reference/api').glob('*.html'))
    for inventory in (DOCS / 'inventories').iterdir():
        for line in inventory.read_text().splitlines()[3:]:
            name, _, page = line.split()
            assert f'/{page}#{name}"' in built, f'{inventory.name}: no page uses {name}'
