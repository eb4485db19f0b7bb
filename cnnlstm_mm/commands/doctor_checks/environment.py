"""Python, the installed packages, and whether they import."""

import configparser
import re
import sys
from importlib import metadata

from cnnlstm_mm.resources import resource_root

from .result import ROOT, Result, tried

# Optional packages, and what needs them.
OPTIONAL = dict(
    h5py='converting Keras weights',
    onnx='the ONNX export',
    onnxruntime='the ONNX export',
    onnxscript='the ONNX export',
    matplotlib='curves of cnnlstm-mm report',
)
OPENCV = (
    'opencv-python',
    'opencv-contrib-python',
    'opencv-python-headless',
    'opencv-contrib-python-headless',
)
MODULES = dict(
    torch='torch',
    cv2='opencv-python',
    mmengine='mmengine',
    mmcv='mmcv-lite',
    decord='decord',
    cnnlstm_mm='cnnlstm_mm',
)


def python() -> list[Result]:
    """The Python version."""
    found = sys.version.split()[0]
    needed = requirements()[0]
    if _fits(found, needed):
        return [Result('Python', 'ok', found)]
    fix = (
        'Make an environment with another: /path/to/python -m venv .venv, or in a checkout '
        'PYTHON=/path/to/python bash tools/quickstart.sh'
    )
    return [Result('Python', 'failed', f'{found}, but {needed} is required', fix)]


def tested() -> dict[str, str]:
    """Tested version of each package, from tools/constraints.txt."""
    text = (resource_root() / 'tools/constraints.txt').read_text()
    return dict(re.findall(r'^([\w.-]+)==([\w.]+)', text, re.M))


def requirements() -> tuple[str, list[str]]:
    """Versions of Python, and the requirements: of setup.cfg, or of the installed package."""
    setup = configparser.ConfigParser()
    if setup.read(ROOT / 'setup.cfg') and 'options' in setup:
        options = setup['options']
        return options['python_requires'], options['install_requires'].splitlines()
    installed = metadata.metadata('cnnlstm_mm')
    lines = installed.get_all('Requires-Dist') or []
    return installed['Requires-Python'], [line for line in lines if 'extra ==' not in line]


def allowed() -> dict[str, str]:
    """Versions that are required, by package; OpenCV has its own check, :func:`opencv`."""
    found = {}
    for line in requirements()[1]:
        match = re.match(r'([\w-]+)([^;#]*)', line.strip())
        if match and not line.startswith(('#', 'opencv')):
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
                    f'{version}, but {spec} is required',
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
            'Videos are read with OpenCV, which is slower. decord has wheels for '
            'x86-64 only: pip install decord',
        )
    if name == 'mmcv-lite':
        try:
            return Result('mmcv', 'ok', metadata.version('mmcv'))
        except metadata.PackageNotFoundError:
            pass
    return Result(name, 'failed', 'not installed', f'pip install "{name}{required[name]}"')


def _fits(version: str, spec: str) -> bool:
    def key(text: str) -> list[int]:
        return [int(part) for part in re.findall(r'\d+', text.split('+')[0])]

    for sign, bound in re.findall(r'(>=|<)\s*([\d.]+)', spec):
        if (key(version) >= key(bound)) != (sign == '>='):
            return False
    return True


def installed_opencv() -> dict[str, str]:
    """Versions of the installed distributions of OpenCV by name; all unpack into ``cv2/``."""
    found = {}
    for name in OPENCV:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def opencv() -> list[Result]:
    """Whether OpenCV's distributions have one version, as they share a folder."""
    found = installed_opencv()
    text = ', '.join(f'{name} {version}' for name, version in found.items())
    if not found:
        fix = f'pip install opencv-python=={tested()["opencv-python"]}'
        return [Result('OpenCV', 'failed', 'not installed', fix)]
    if len(set(found.values())) > 1:
        return [Result('OpenCV', 'failed', f'{text} in one folder', opencv_fix())]
    return [Result('OpenCV', 'ok', text)]


def opencv_fix(error: str = '') -> str:
    """Command that repairs OpenCV after the error of its import.

    Servers lack display libraries such as libGL.so.1, which the headless build does not need. For
    any other error the command installs one version of all installed distributions.
    """
    names = list(installed_opencv()) or ['opencv-python']
    wanted = ['opencv-python-headless'] if re.search(r'lib\w+.*\.so', error) else names
    version = tested()['opencv-python']
    install = ' '.join(f'{name}=={version}' for name in wanted)
    return f'pip uninstall -y {" ".join(names)} && pip install --no-deps {install}'


def imports() -> list[Result]:
    """Whether each package imports, tried in a subprocess."""
    results: list[Result] = []
    if tried(f'import {", ".join(MODULES)}')[0]:
        return [Result('imports', 'ok', ', '.join(MODULES))]
    for module, package in MODULES.items():
        good, said = tried(f'import {module}')
        if good:
            continue
        if module == 'decord' and 'No module' in said:
            continue  # reported above
        cure = f'pip install --force-reinstall --no-deps {package}'
        if said in [result.found for result in results]:
            cure = 'Fix the line above with the same error first.'
        elif module == 'cv2':
            cure = opencv_fix(said)
        elif module == 'cnnlstm_mm':
            cure = 'Fix the lines above first, then: pip install -e .'
        results.append(Result(f'import {module}', 'failed', said, cure))
    return results
