"""Every file that names versions names the same ones."""

import ast
import configparser
import re

import pytest
from helpers.support import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

VERSIONS = ('3.10', '3.11', '3.12')
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / 'setup.cfg')
FILES = sorted(
    path
    for folder in ('cnnlstm_mm', 'tools', 'benchmarks', 'configs', 'tests')
    for path in (ROOT / folder).rglob('*.py')
)


@pytest.mark.parametrize('minor', [10, 11, 12])
def test_syntax(minor):
    """Of the parser at hand, held to that of the version."""
    assert len(FILES) > 100
    for path in FILES:
        ast.parse(path.read_text(), str(path), feature_version=(3, minor))


def test_python_versions_agree():
    required = SpecifierSet(SETUP['options']['python_requires'])
    for minor in range(8, 15):
        assert required.contains(f'3.{minor}.5') == (f'3.{minor}' in VERSIONS), minor
    classifiers = SETUP['metadata']['classifiers']
    assert tuple(re.findall(r'Python :: (3\.\d+)', classifiers)) == VERSIONS
    script = (ROOT / 'tools/setup_env.sh').read_text()
    for path in ('tools/setup_env.sh', 'tools/doctor_checks/environment.py'):
        assert re.search(
            r'\(3, 10\) <= \w*\.?version_info.* < \(3, 13\)|'
            r'\(3, 10\) <= sys\.version_info < \(3, 13\)',
            (ROOT / path).read_text(),
        ), path
    assert set(re.findall(r'python(3\.\d+)', script)) == set(VERSIONS)
    assert 'With Python 3.10 to 3.12' in (ROOT / 'README.md').read_text()
    project = (ROOT / 'pyproject.toml').read_text()
    assert 'target-version = "py310"' in project
    assert 'python_version = "3.10"' in project


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
