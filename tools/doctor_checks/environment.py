"""Python, the installed packages, and whether they import."""

import configparser
import re
import sys
from importlib import metadata

from .result import ROOT, Result, tried

# What cannot be done without it, for packages that are no requirement.
OPTIONAL = dict(
    h5py='converting Keras weights',
    onnx='the ONNX export',
    onnxruntime='the ONNX export',
    onnxscript='the ONNX export',
    matplotlib='curves of tools/report.py',
)
MODULES = dict(
    torch='torch',
    mmengine='mmengine',
    mmcv='mmcv-lite',
    cv2='opencv-python',
    decord='decord',
    cnnlstm_mm='cnnlstm_mm',
)


def python() -> list[Result]:
    """The Python version."""
    found = sys.version.split()[0]
    if (3, 10) <= sys.version_info < (3, 13):
        return [Result('Python', 'ok', found)]
    return [
        Result(
            'Python',
            'failed',
            found,
            'Use Python 3.10 to 3.12: PYTHON=/path/to/python bash '
            'tools/quickstart.sh makes an environment with it.',
        )
    ]


def tested() -> dict[str, str]:
    """The tested version of each package, of tools/constraints.txt."""
    text = (ROOT / 'tools/constraints.txt').read_text()
    return dict(re.findall(r'^([\w.-]+)==([\w.]+)', text, re.M))


def allowed() -> dict[str, str]:
    """What setup.cfg requires: the range of versions by package."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    found = {}
    for line in setup['options']['install_requires'].splitlines():
        match = re.match(r'([\w-]+)([^;#]*)', line.strip())
        if match and not line.startswith('#'):
            found[match[1]] = match[2].strip()
    return found


def versions() -> list[Result]:
    """Installed versions against those allowed and those tested."""
    required, known, results = allowed(), tested(), []
    fine: list[str] = []
    for name in {**required, **OPTIONAL}:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            results.append(_absent(name, required))
            continue
        spec = required.get(name, '')
        if spec and not _fits(version, spec):
            results.append(
                Result(
                    name,
                    'failed',
                    f'{version}, and {spec} is needed',
                    f'pip install "{name}{spec}"',
                )
            )
        elif known.get(name, version) != version.split('+')[0]:
            fine.append(f'{name} {version} (tested with {known[name]})')
        else:
            fine.append(f'{name} {version}')
    return [Result('packages', 'ok', ', '.join(fine)), *results]


def _absent(name: str, required: dict[str, str]) -> Result:
    if name in OPTIONAL:
        return Result(name, 'ok', 'not installed', f'Only for {OPTIONAL[name]}: pip install {name}')
    if name == 'decord':
        return Result(
            name,
            'warning',
            'not installed',
            'Videos are read with OpenCV, slower. decord has wheels for '
            'x86-64 alone: pip install decord',
        )
    if name == 'mmcv-lite':
        try:
            return Result('mmcv', 'ok', metadata.version('mmcv'))
        except metadata.PackageNotFoundError:
            pass
    return Result(
        name,
        'failed',
        'not installed',
        f'pip install "{name}{required[name]}", or all: bash tools/quickstart.sh',
    )


def _fits(version: str, spec: str) -> bool:
    def key(text: str) -> list[int]:
        return [int(part) for part in re.findall(r'\d+', text.split('+')[0])]

    for sign, bound in re.findall(r'(>=|<)\s*([\d.]+)', spec):
        if (key(version) >= key(bound)) != (sign == '>='):
            return False
    return True


def imports() -> list[Result]:
    """Whether each package imports, in a process of its own."""
    results: list[Result] = []
    if tried(f'import {", ".join(MODULES)}')[0]:
        return [Result('imports', 'ok', ', '.join(MODULES))]
    for module, package in MODULES.items():
        good, said = tried(f'import {module}')
        if good:
            continue
        if module == 'decord' and 'No module' in said:
            continue  # said above
        cure = f'pip install --force-reinstall --no-deps {package}'
        if module == 'cv2' and 'lib' in said:
            cure = (
                'Debian and Ubuntu: apt-get install libgl1 libglib2.0-0, '
                'or pip install opencv-python-headless'
            )
        elif module == 'cnnlstm_mm':
            cure = 'Mend the lines above first, then: pip install -e .'
        results.append(Result(f'import {module}', 'failed', said, cure))
    return results
