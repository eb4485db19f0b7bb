// The page: frames of a webcam or a file, scores as bars and over time.
'use strict';

const COLORS = ['#4285f4', '#34a853', '#fbbc04', '#ea4335', '#ab47bc',
                '#00acc1', '#ff7043', '#9e9d24'];
const TOPK = 5, HISTORY = 150, EVENTS = 8;
const $ = (id) => document.getElementById(id);
const video = $('video'), chart = $('chart');
const canvas = document.createElement('canvas');
const pixels = canvas.getContext('2d', {willReadFrequently: true});
// With #record in the address, frames are kept for whoever checks the page.
const record = location.hash === '#record';
const app = {frames: [], history: [], times: [], used: 0, lost: 0,
             events: [], ended: false, live: false, ready: false};
let rec = null, detector = null, busy = false, run = 0;

function softmax(scores) {
  const top = Math.max(...scores);
  const all = Array.from(scores, (s) => Math.exp(s - top));
  const sum = all.reduce((a, b) => a + b, 0);
  return all.map((s) => s / sum);
}

// Of several labels, each of which has a probability.
function sigmoid(scores) {
  return Array.from(scores, (s) => 1 / (1 + Math.exp(-s)));
}

function say(text, bad = false) {
  $('status').textContent = text;
  $('status').classList.toggle('bad', bad);
}

function drawBars(scores) {
  const best = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a])
    .slice(0, TOPK);
  const rows = best.map((k) => {
    const row = document.createElement('li');
    const bar = document.createElement('span');
    const name = document.createElement('b');
    const value = document.createElement('i');
    bar.style.width = `${100 * scores[k]}%`;
    bar.style.background = COLORS[k % COLORS.length];
    name.textContent = rec.labels[k];
    value.textContent = `${(100 * scores[k]).toFixed(1)} %`;
    row.append(bar, name, value);
    return row;
  });
  $('bars').replaceChildren(...rows);
  return best;
}

function drawChart(best) {
  const ratio = window.devicePixelRatio || 1;
  const width = chart.clientWidth, height = chart.clientHeight;
  chart.width = width * ratio;
  chart.height = height * ratio;
  const pen = chart.getContext('2d');
  pen.scale(ratio, ratio);
  pen.strokeStyle = '#2c333d';
  for (const share of [0, 0.5, 1]) {
    const y = 6 + (height - 12) * (1 - share);
    pen.beginPath(); pen.moveTo(0, y); pen.lineTo(width, y); pen.stroke();
  }
  const span = Math.max(40, app.history.length);
  const shift = span - app.history.length;
  pen.lineWidth = 2;
  pen.lineJoin = 'round';
  for (const k of [...best].reverse()) {
    pen.strokeStyle = COLORS[k % COLORS.length];
    pen.beginPath();
    app.history.forEach((scores, t) => {
      const x = width * (shift + t) / (span - 1);
      const y = 6 + (height - 12) * (1 - scores[k]);
      if (t) pen.lineTo(x, y); else pen.moveTo(x, y);
    });
    pen.stroke();
  }
}

// Events that ended, and above them those that go on.
function showEvents(ended) {
  app.events.push(...ended);
  const lines = [
    ...detector.ongoing.map((event) => ({...event, goes: true})).reverse(),
    ...app.events.slice(-EVENTS).reverse()];
  $('events').replaceChildren(...lines.slice(0, EVENTS).map((event) => {
    const row = document.createElement('li');
    const end = event.goes ? '...' : event.end.toFixed(2);
    row.textContent = `${event.start.toFixed(2)} - ${end} s  ${event.label}` +
      `  ${(100 * event.score).toFixed(0)} %`;
    row.classList.toggle('goes', Boolean(event.goes));
    return row;
  }));
}

function watch() {
  const low = Number($('low').value);
  const high = Math.max(low, Number($('high').value));
  detector = new EventDetector(
    rec.labels, {none_class: rec.facts.none_class ?? null, low, high});
}

function show(scores, time) {
  const shown = rec.facts.probabilities ? Array.from(scores)
    : rec.facts.multi_class ? sigmoid(scores) : softmax(scores);
  app.history.push(shown);
  if (app.history.length > HISTORY) app.history.shift();
  drawChart(drawBars(shown));
  showEvents(detector.update(shown, time));
  const span = app.times[app.times.length - 1] - app.times[0];
  const fps = app.times.length > 1 ? 1000 * (app.times.length - 1) / span : 0;
  $('fps').textContent = fps.toFixed(1);
  $('used').textContent = app.used;
  $('lost').textContent = app.lost;
}

async function take(mine, time) {
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  pixels.drawImage(video, 0, 0);
  const image = pixels.getImageData(0, 0, canvas.width, canvas.height);
  const start = performance.now();
  const scores = await rec.step(image);
  if (mine !== run) return;
  $('ms').textContent = (performance.now() - start).toFixed(1);
  app.used += 1;
  app.times.push(performance.now());
  if (app.times.length > 30) app.times.shift();
  if (record) app.frames.push({image, scores: Array.from(scores), time});
  show(scores, time);
}

// Every frame that is presented comes here; one that comes while the last is
// worked on is lost. A file is played slower then, so that the next is not.
function follow(mine) {
  const every = rec.facts.frame_interval;
  let last = null, taken = null;
  const next = (now, data) => {
    if (mine !== run) return;
    video.requestVideoFrameCallback(next);
    const number = data.presentedFrames;
    if (last !== null) app.lost += number - last - 1;
    last = number;
    if (taken !== null && number - taken < every) return;
    if (busy) {
      app.lost += 1;
      if (!app.live) {
        video.playbackRate = Math.max(0.1, 0.7 * video.playbackRate);
      }
      return;
    }
    busy = true;
    taken = number;
    take(mine, data.mediaTime).catch(fail).finally(() => {
      busy = false;
      if (mine === run && app.ended) showEvents(detector.finish());
    });
  };
  video.requestVideoFrameCallback(next);
}

function fail(error) {
  stop();
  say(error.message || String(error), true);
}

function stop() {
  run += 1;
  if (video.srcObject) {
    video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  }
  video.pause();
  $('stop').disabled = true;
}

function begin(live) {
  stop();
  rec.reset();
  watch();
  Object.assign(app, {frames: [], history: [], times: [], events: [], used: 0,
                      lost: 0, ended: false, live});
  video.playbackRate = 1;
  $('stop').disabled = false;
  return run;
}

async function openFile(file) {
  const mine = begin(false);
  say(file.name);
  video.src = URL.createObjectURL(file);
  follow(mine);
  await video.play();
}

// Phones tell cameras by where they look; names are known once one was used.
const SIDES = [['any camera', true], ['back camera', {facingMode: 'environment'}],
               ['front camera', {facingMode: 'user'}]];

function offer(devices = []) {
  const named = devices.filter(({kind, label}) => kind === 'videoinput' && label)
    .map(({deviceId, label}) => [label, {deviceId: {exact: deviceId}}]);
  const chosen = $('which').selectedOptions[0]?.textContent;
  $('which').replaceChildren(...[...SIDES, ...named].map(([text, wish]) => {
    const option = new Option(text, JSON.stringify(wish));
    option.selected = text === chosen;
    return option;
  }));
}

async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error('this browser shows a page its cameras only at an address ' +
                    `that begins with https:// or at localhost, not at ${location.origin}: ` +
                    'open it there, or choose a video');
  }
  const mine = begin(true);
  const wish = JSON.parse($('which').value);
  say('webcam');
  const stream = await navigator.mediaDevices.getUserMedia({video: wish});
  if (mine !== run) {
    stream.getTracks().forEach((track) => track.stop());
    return;
  }
  video.srcObject = stream;
  say(stream.getVideoTracks()[0].label || 'webcam');
  offer(await navigator.mediaDevices.enumerateDevices());
  follow(mine);
  await video.play();
}

video.addEventListener('ended', () => {
  app.ended = true;
  if (!busy) showEvents(detector.finish());  // or after the frame that is worked on
});
video.addEventListener('error', () => {
  if (video.getAttribute('src')) {
    fail(new Error('this browser cannot play that file'));
  }
});
$('file').addEventListener('click', (event) => {
  event.target.value = '';  // so that the same file can be chosen again
});
$('file').addEventListener('change', (event) => {
  if (event.target.files.length) openFile(event.target.files[0]).catch(fail);
});
$('camera').addEventListener('click', () => openCamera().catch(fail));
$('which').addEventListener('change', () => {
  if (app.live && video.srcObject) openCamera().catch(fail);
});
for (const id of ['high', 'low']) {
  $(id).addEventListener('change', () => { if (rec) watch(); });
}
$('stop').addEventListener('click', () => {
  stop();
  showEvents(detector.finish());
  say('stopped');
});
window.app = app;
$('high').value = 0.6;
$('low').value = 0.3;
offer();
StepRecognizer.load('.').then((loaded) => {
  rec = loaded;
  app.ready = true;
  $('title').textContent = rec.facts.title;
  $('camera').disabled = $('file').disabled = false;
  say('ready: choose a video, or start the webcam');
}).catch(fail);
