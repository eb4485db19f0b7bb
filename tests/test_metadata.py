"""Every file that names versions names the same ones."""

import ast
import configparser
import re
import subprocess
import sys

import pytest
from helpers.support import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cnnlstm_mm.commands.doctor_checks import environment

VERSIONS = ('3.10', '3.11', '3.12', '3.13', '3.14')
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / 'setup.cfg')
FILES = sorted(
    path
    for folder in ('cnnlstm_mm', 'tools', 'benchmarks', 'examples', 'configs', 'tests')
    for path in (ROOT / folder).rglob('*.py')
)


@pytest.mark.slow
@pytest.mark.parametrize('minor', [10, 11, 12, 13, 14])
def test_syntax(minor):
    """Of the parser at hand, held to that of the version."""
    assert len(FILES) > 100
    for path in FILES:
        ast.parse(path.read_text(), str(path), feature_version=(3, minor))


def test_python_versions_agree():
    required = SpecifierSet(SETUP['options']['python_requires'])
    for minor in range(8, 16):
        assert required.contains(f'3.{minor}.5') == (f'3.{minor}' in VERSIONS), minor
    classifiers = SETUP['metadata']['classifiers']
    assert tuple(re.findall(r'Python :: (3\.\d+)', classifiers)) == VERSIONS
    script = (ROOT / 'tools/setup_env.sh').read_text()
    assert set(re.findall(r'python(3\.\d+)', script)) == set(VERSIONS)
    assert 'no Python 3.10 to 3.14 found' in script
    readme = (ROOT / 'README.md').read_text()
    assert 'With Python 3.10 to 3.14' in readme
    assert 'is checked for 3.10 to 3.14' in (ROOT / 'CONTRIBUTING.md').read_text()
    project = (ROOT / 'pyproject.toml').read_text()
    assert 'target-version = "py310"' in project
    assert 'python_version = "3.10"' in project


@pytest.mark.parametrize('minor, accepted', [(9, 0), (10, 1), (14, 1), (15, 0)])
def test_the_tools_accept_these_versions(minor, accepted, tmp_path, monkeypatch):
    monkeypatch.setattr(environment.sys, 'version', f'3.{minor}.1 (main, Jan 1 2025)')
    assert [r.state for r in environment.python()] == ['ok' if accepted else 'failed']
    # The function of the script, with a Python that says it is of this version.
    python = tmp_path / 'python'
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, {minor}, 1, '
        '\'final\', 0); exec(sys.argv[1])" "$2"\n'
    )
    python.chmod(0o755)
    script = (ROOT / 'tools/setup_env.sh').read_text()
    function = re.search(r'^supported\(\) \{.*?^\}', script, re.M | re.S)[0]
    done = subprocess.run(['bash', '-c', f'{function}\nsupported {python}'], cwd=ROOT)
    assert (done.returncode == 0) == bool(accepted)


# Names that the package uses, and the first PyTorch that has them.
FIRST_TORCH = {'torch.compiler.is_exporting': '2.7'}


@pytest.mark.parametrize('name, first', FIRST_TORCH.items())
def test_the_oldest_torch_has_what_is_used(name, first):
    used = any(name in path.read_text() for path in (ROOT / 'cnnlstm_mm').rglob('*.py'))
    (torch,) = (wanted for wanted in requirements() if wanted.name == 'torch')
    assert not used or not torch.specifier.contains(f'{float(first) - 0.1:.1f}.9')


def test_nothing_stands_in_both_files():
    project = (ROOT / 'pyproject.toml').read_text()
    assert re.search(r'^\[project', project, re.M) is None
    assert not [name for name in SETUP.sections() if name.startswith('tool')]


def test_one_version_of_opencv():
    """mmcv and mmaction2 want two distributions, which unpack into one folder."""
    lines = (ROOT / 'tools/constraints.txt').read_text().splitlines()
    pins = [line.partition('==') for line in lines if line.startswith('opencv')]
    assert len(pins) >= 2 and len({version for _, _, version in pins}) == 1
    bounds = {r.name: str(r.specifier) for r in requirements() if r.name.startswith('opencv')}
    assert set(bounds) == {'opencv-python', 'opencv-contrib-python'}
    assert len(set(bounds.values())) == 1


def requirements():
    lists = [SETUP['options']['install_requires'], *SETUP['options.extras_require'].values()]
    lines = [line.strip() for text in lists for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def test_tested_versions_are_allowed():
    lines = (ROOT / 'tools/constraints.txt').read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith('#')]
    tested = {pin.name: str(pin.specifier).removeprefix('==') for pin in pins}
    assert list(tested) == sorted(tested)
    assert all(pin.specifier for pin in pins)
    for wanted in requirements():
        if wanted.name in tested:
            assert tested[wanted.name] in wanted.specifier, wanted
    needed = {wanted.name for wanted in requirements()}
    assert {'torch', 'ruff', 'mypy', 'hypothesis', 'coverage'} <= needed & set(tested)


def test_a_new_syntax_is_seen():
    with pytest.raises(SyntaxError):
        ast.parse('type X = int', feature_version=(3, 10))


def test_messages_name_the_command():
    """A wheel has no tools/ to run; in a checkout the command is there as well."""
    lines = [
        f'{path}:{number}: {line.strip()}'
        for path in (ROOT / 'cnnlstm_mm').rglob('*.py')
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1)
        if re.search(r'tools/\w*[\w/]*\.py', line)
    ]
    known = ('resource_root()', 'torchrun', 'checkout / ', 'python tools/run_benchmark.py', '<!-- ')
    assert not [line for line in lines if not any(word in line for word in known)]
