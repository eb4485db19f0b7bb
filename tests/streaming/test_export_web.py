"""The page of tools/export_web.py in headless Chromium."""

import base64
import functools
import http.server
import json
import shutil
import threading

import numpy as np
import onnx
import pytest
from helpers.onnx_models import LABELS, exported
from helpers.support import ROOT, load_tool, run_tool

from cnnlstm_mm.export import made_video, read_frames
from cnnlstm_mm.streaming import OnnxStreamingRecognizer

pytestmark = pytest.mark.slow

PIXELS = """(frame) => {
  const {data, width, height} = app.frames[frame].image;
  let text = '';
  for (let k = 0; k < data.length; k += 4096)
    text += String.fromCharCode(...data.subarray(k, k + 4096));
  return [btoa(text), width, height];
}"""


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """The page of a small model, and the model."""
    npm = shutil.which('npm')
    if npm is None:
        pytest.skip('needs npm, which fetches onnxruntime-web')
    folder = tmp_path_factory.mktemp('page')
    model = folder / 'step.onnx'
    exported('conv_mean', model)
    done = run_tool('tools/export_web.py', model, '--out', folder / 'page')
    if 'npm pack' in done.stderr:
        pytest.skip('npm cannot fetch onnxruntime-web here')
    assert done.returncode == 0, done.stderr
    return folder / 'page', model


@pytest.fixture(scope='module')
def address(page):
    """The page on a web server that notes what it is asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Handler, directory=str(page[0]))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/#record'
    server.shutdown()
    server.server_close()


@pytest.fixture
def browser(address):
    """A page of Chromium, with a camera of its own making."""
    playwright = pytest.importorskip('playwright.sync_api')
    binary = shutil.which('chromium') or shutil.which('google-chrome')
    if not binary:
        pytest.skip('needs Chromium')
    flags = (
        '--no-sandbox',
        '--disable-dev-shm-usage',
        '--use-fake-device-for-media-stream',
        '--use-fake-ui-for-media-stream',
    )
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=binary, args=flags)
        opened = chromium.new_page(viewport=dict(width=1120, height=790))
        opened.errors = []
        opened.on('console', lambda m: m.type == 'error' and opened.errors.append(m.text))
        opened.on('pageerror', lambda error: opened.errors.append(str(error)))
        opened.goto(address)
        wait(opened, 'app.ready')
        yield opened
        chromium.close()


def wait(browser, condition):
    """Until a condition of the page holds; wait_for_function needs what the page's CSP forbids."""
    for _ in range(600):
        if browser.evaluate(condition):
            return
        browser.wait_for_timeout(100)
    raise AssertionError(f'{condition}: {browser.inner_text("#status")} {browser.errors}')


def pixels(browser, k):
    """The frame that the page saw, uint8 RGB [H, W, 3]."""
    text, width, height = browser.evaluate(PIXELS, k)
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return data.reshape(height, width, 4)[..., :3]


def test_a_file_gets_the_scores_of_python(browser, page, tmp_path):
    """On the frames that the browser decoded, and on those of OpenCV."""
    video = tmp_path / 'waves.webm'
    made_video(video, 24)
    # Slowly, so that a busy machine presents enough of them.
    browser.evaluate('video.defaultPlaybackRate = .25')
    browser.set_input_files('#file', str(video))
    wait(browser, 'app.ended && app.used >= 5')
    used = browser.evaluate('app.frames.length')
    scores = np.array(browser.evaluate('app.frames.map((f) => f.scores)'))
    times = browser.evaluate('app.frames.map((f) => f.time)')
    rec = OnnxStreamingRecognizer(page[1])
    seen = np.stack([pixels(browser, k) for k in range(used)])
    want, _ = rec.steps(seen[None])
    np.testing.assert_allclose(scores, want[0], atol=1e-5)
    assert np.ptp(want[0], axis=0).max() > 1e-3  # far beyond it
    shown = browser.inner_text('#bars li b')
    assert shown == LABELS[int(want[0, -1].argmax())]
    # Another decoder turns YUV into RGB a little differently.
    frames = read_frames(video)
    own, _ = rec.steps(np.stack([frames[min(round(25 * t), len(frames) - 1)] for t in times])[None])
    assert abs(own[0] - scores).max() < 0.05


def test_a_webcam_runs_and_nothing_else_is_asked_for(browser):
    """All requests go to the page's own folder."""
    browser.click('#camera')
    wait(browser, 'app.used >= 3')
    asked = browser.evaluate("performance.getEntriesByType('resource').map((r) => r.name)")
    own = browser.evaluate('location.origin')
    assert asked and all(name.startswith((own, 'blob:')) for name in asked)
    assert not browser.errors
    browser.click('#stop')
    assert browser.evaluate('video.srcObject') is None


def test_what_the_page_cannot_do_is_refused(tmp_path, page):
    """With the cure."""

    def refused(*args):
        done = run_tool('tools/export_web.py', *args, '--out', tmp_path / 'out')
        assert done.returncode == 2
        return done.stderr

    model = onnx.load(str(page[1]))
    for entry in model.metadata_props:
        if entry.key == 'preprocessing':
            rule = json.loads(entry.value)
            rule['steps'][0]['interpolation'] = 'area'
            entry.value = json.dumps(rule)
    onnx.save(model, str(tmp_path / 'area.onnx'))
    assert 'interpolation="bilinear"' in refused(tmp_path / 'area.onnx')
    assert 'pass --ort-dir' in refused(page[1], '--ort-dir', tmp_path)
    assert 'none.onnx: no such file' in refused(tmp_path / 'none.onnx')
    assert 'CONFIG CHECKPOINT' in refused(ROOT / 'configs/x.py')


def test_a_missing_npm_is_said(tmp_path, monkeypatch):
    """With what to do instead."""
    export_web = load_tool('tools/export_web.py')
    monkeypatch.setattr(export_web.shutil, 'which', lambda name: None)
    with pytest.raises(RuntimeError, match='install Node.js, or pass'):
        export_web.fetch_ort(tmp_path)
