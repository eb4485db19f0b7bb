"""tools/doctor.py, on this machine and on broken ones."""

import json
import re

import pytest
from helpers.forked_python import forked_pythons
from helpers.support import run_python

from cnnlstm_mm.commands.doctor_checks import environment, machine, package
from cnnlstm_mm.commands.doctor_checks.result import tried


@pytest.mark.slow
def test_this_machine_is_fine(quickstart_data, tmp_path):
    videos = quickstart_data / 'videos'
    good = quickstart_data / 'quickstart_val_split_1_videos.txt'
    bad = tmp_path / 'bad.txt'
    bad.write_text('gone.avi 0\n')
    lists = ('--ann-file', good, bad, '--videos', videos)
    with forked_pythons():
        done = run_python('tools/doctor.py', '--json', '--work-dir', tmp_path, *lists)
    found = {r['name']: r for r in json.loads(done.stdout)}
    assert done.returncode == 1, 'one list is wrong'
    failed = [name for name, r in found.items() if r['state'] == 'failed']
    assert failed == [str(bad)]
    assert f'{bad}, line 1' in found[str(bad)]['found']
    assert 'data_prefix' in found[str(bad)]['cure']
    assert found[str(good)]['found'].startswith('16 videos, 8 labels')
    assert found['two processes']['found'].startswith('all-reduce over')
    assert found['decoder: OpenCV']['found'] == '10 frames'
    assert sum(name.startswith('fix: ') for name in found) == 8
    assert found['OpenCV']['state'] == 'ok' and 'opencv-python' in found['OpenCV']['found']


@pytest.fixture
def patient(tmp_path, monkeypatch):
    """Modules that take the place of the real ones: patient(name, code)."""

    def make(name, code):
        (tmp_path / f'{name}.py').write_text(code)
        monkeypatch.setenv('PYTHONPATH', str(tmp_path))

    return make


def test_a_decoder_that_ends_its_process(patient):
    patient('decord', 'import os; os.kill(os.getpid(), 11)')
    results = {r.name: r for r in machine.decoder()}
    assert 'signal 11' in results['decoder: decord'].found
    assert 'decord' in results['decoder: decord'].cure
    assert results['decoder: OpenCV'].state == 'ok'


LIBGL = 'libGL.so.1: cannot open shared object file: No such file or directory'


@pytest.mark.slow
def test_a_server_without_libgl(patient):
    """Every row gives one advice: no other build of opencv-python can help."""
    patient('cv2', f'raise ImportError({LIBGL!r})')
    rows = [r for r in (*environment.imports(), *machine.decoder()) if 'libGL' in r.found]
    assert {r.name for r in rows} >= {'import cv2', 'decoder: OpenCV', 'decoder: decord'}
    fixes = {r.cure for r in rows if not r.cure.startswith('Fix the line above')}
    assert len(fixes) == 1
    assert re.fullmatch(
        r'pip uninstall -y opencv-python.* && pip install --no-deps opencv-python-headless==[\d.]+',
        fixes.pop(),
    )


def test_two_versions_of_opencv(monkeypatch):
    versions = {'opencv-python': '5.0.0.93', 'opencv-contrib-python': '5.1.0.95'}

    def version(name):
        if name not in versions:
            raise environment.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(environment.metadata, 'version', version)
    (row,) = environment.opencv()
    assert row.state == 'failed' and '5.0.0.93' in row.found and '5.1.0.95' in row.found
    tested = environment.tested()['opencv-python']
    assert f'opencv-python=={tested} opencv-contrib-python=={tested}' in row.cure
    versions.clear()
    (row,) = environment.opencv()
    assert row.state == 'failed' and 'pip install opencv-python==' in row.cure
    versions['opencv-python-headless'] = '4.13.0.92'
    assert environment.opencv()[0].state == 'ok'


@pytest.mark.slow
def test_a_missing_mmaction(patient, monkeypatch):
    patient(
        'mmaction', 'raise ModuleNotFoundError("No module named \'mmaction\'", name="mmaction")'
    )
    (fixes,) = package.fixes()
    assert fixes.state == 'failed' and 'mmaction' in fixes.found
    real = environment.metadata.version

    def version(name):
        if name in ('mmaction2', 'decord'):
            raise environment.metadata.PackageNotFoundError(name)
        return '2.2.0' if name == 'mmcv-lite' else real(name)

    monkeypatch.setattr(environment.metadata, 'version', version)
    found = {r.name: r for r in environment.versions()}
    assert found['mmaction2'].state == 'failed'
    assert 'pip install "mmaction2>=1.2,<1.3"' in found['mmaction2'].cure
    assert found['decord'].state == 'warning'
    assert found['mmcv-lite'].found == '2.2.0, but >=2.1,<2.2 is required'


def test_hangs_have_an_end():
    assert tried('import time; time.sleep(60)', 0.5) == (False, 'no answer within 0.5 s')


def test_little_shared_memory_and_no_write_access(monkeypatch, tmp_path):
    usage = type('', (), dict(free=2**26, total=2**26))
    monkeypatch.setattr(machine.shutil, 'disk_usage', lambda path: usage)
    (memory,) = machine.shared_memory()
    assert memory.state == 'warning' and '--shm-size' in memory.cure
    assert machine.disk(str(tmp_path))[0].state == 'warning'

    def refuse(*args, **kwargs):
        raise PermissionError('read-only')

    monkeypatch.setattr(machine.tempfile, 'NamedTemporaryFile', refuse)
    assert {r.state for r in machine.write_access(str(tmp_path))} == {'failed'}
