// cnnlstm_mm/commands/web/app.js on a document of stubs: node page.js, what to do from standard input.
const fs = require('fs');
const vm = require('vm');
const web = `${__dirname}/../../cnnlstm_mm/commands/web`;
const setup = JSON.parse(fs.readFileSync(0));

class Element {
  constructor(id) { Object.assign(this, {id, on: {}, children: [], style: {}, selectedOptions: []}); }
  addEventListener(name, call) { this.on[name] = call; }
  replaceChildren(...children) {
    this.children = children;
    this.selectedOptions = children.filter((child) => child.selected).slice(0, 1);
    if (children.length && children[0].wish !== undefined) {
      this.value = (this.selectedOptions[0] ?? children[0]).wish;
    }
  }
  append(...children) { this.children.push(...children); }
  getContext() { return new Proxy({}, {get: () => () => {}, set: () => true}); }
  requestVideoFrameCallback(call) { this.next = call; }
  async play() { }
  pause() { }
  classList = {toggle: () => {}};
}
const elements = {};
const get = (id) => elements[id] ??= new Element(id);
const asked = [];
const track = {stop() {}, label: 'Back camera'};
const stream = {getTracks: () => [track], getVideoTracks: () => [track]};
const mediaDevices = {
  async getUserMedia(wish) { asked.push(wish.video); return stream; },
  async enumerateDevices() {
    return [{kind: 'videoinput', label: 'Back camera', deviceId: 'b'},
            {kind: 'audioinput', label: 'Microphone', deviceId: 'm'}];
  },
};
const rows = setup.scores ?? [];
const world = vm.createContext({
  console, performance, setTimeout,
  document: {getElementById: get, createElement: () => new Element()},
  location: {hash: '#record', origin: 'http://192.168.0.2:8000'},
  navigator: setup.secure ? {mediaDevices} : {},
  Option: class { constructor(text, wish) { Object.assign(this, {textContent: text, wish}); } },
  StepRecognizer: {load: async () => ({
    labels: setup.labels, facts: {...setup.facts, title: 'x'}, reset() {},
    step: async () => {
      const row = rows.shift();
      if (setup.late && !rows.length) await new Promise((done) => setTimeout(done, 20));
      return row;
    },
  })},
});
world.window = world;
for (const name of ['events.js', 'app.js']) {
  vm.runInContext(fs.readFileSync(`${web}/${name}`, 'utf8'), world);
}
const rest = () => new Promise((done) => setTimeout(done, 1));
(async () => {
  await rest();
  if (setup.choose !== undefined) get('which').value = get('which').children[setup.choose].wish;
  get('camera').on.click();
  await rest();
  for (const [number, time] of (setup.times ?? []).entries()) {
    get('video').next(0, {presentedFrames: number + 1, mediaTime: time});
    await rest();
  }
  if (setup.late) {  // the file ends while its last frame is worked on
    get('video').on.ended();
    await new Promise((done) => setTimeout(done, 40));
  } else if (setup.times) {
    get('stop').on.click();
  }
  console.log(JSON.stringify({
    asked, status: setup.times ? '' : get('status').textContent,
    cameras: get('which').children.map((child) => child.textContent),
    events: world.app.events, shown: get('events').children.map((row) => row.textContent)}));
})();
