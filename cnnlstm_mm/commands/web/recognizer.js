// A step model of cnnlstm-mm export on frames of RGBA pixels, by
// onnxruntime-web (the global `ort`). Everything stays in this page.
'use strict';

function roundToEven(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 ? low + 1 : low;
}

// What OpenCV's INTER_LINEAR does along one side, in its fixed point:
// for each new pixel the two old ones and their weights, which sum to 2048.
// Beyond the border, the columns' weights are 1 and 0, and the rows' are not,
// which rounds differently.
function weights(from, to, columns) {
  const scale = from / to;
  const first = new Int32Array(to), second = new Int32Array(to);
  const a = new Int32Array(to), b = new Int32Array(to);
  for (let k = 0; k < to; k++) {
    const place = Math.fround((k + 0.5) * scale - 0.5);
    let i = Math.floor(place);
    let part = Math.fround(place - i);
    if (columns && i < 0) { i = 0; part = 0; }
    if (columns && i >= from - 1) { i = from - 1; part = 0; }
    first[k] = Math.max(i, 0);
    second[k] = Math.min(i + 1, from - 1);
    a[k] = roundToEven(Math.fround(1 - part) * 2048);
    b[k] = roundToEven(part * 2048);
  }
  return {first, second, a, b};
}

// Bilinear resize of interleaved pixels to RGB, equal to OpenCV's.
// image: {data, width, height, channels}
function resize(image, width, height) {
  const {data, channels} = image;
  const x = weights(image.width, width, true);
  const y = weights(image.height, height, false);
  const rows = new Map();
  const row = (number) => {
    if (!rows.has(number)) {
      const line = new Int32Array(width * 3);
      const start = number * image.width * channels;
      for (let k = 0, out = 0; k < width; k++) {
        const p = start + x.first[k] * channels;
        const q = start + x.second[k] * channels;
        for (let c = 0; c < 3; c++) {
          line[out++] = (data[p + c] * x.a[k] + data[q + c] * x.b[k]) >> 4;
        }
      }
      rows.set(number, line);
      rows.delete(number - 4);
    }
    return rows.get(number);
  };
  const result = new Uint8Array(width * height * 3);
  for (let k = 0, out = 0; k < height; k++) {
    const top = row(y.first[k]), bottom = row(y.second[k]);
    const a = y.a[k], b = y.b[k];
    for (let i = 0; i < width * 3; i++) {
      result[out++] = (((a * top[i]) >> 16) + ((b * bottom[i]) >> 16) + 2) >> 2;
    }
  }
  return {data: result, width, height, channels: 3};
}

function crop(image, width, height) {
  if (width > image.width || height > image.height) {
    throw new Error(`a frame of ${image.width}x${image.height} is smaller ` +
                    `than the crop of ${width}x${height}`);
  }
  const left = Math.floor((image.width - width) / 2);
  const top = Math.floor((image.height - height) / 2);
  const result = new Uint8Array(width * height * 3);
  for (let y = 0, out = 0; y < height; y++) {
    let p = ((top + y) * image.width + left) * image.channels;
    for (let x = 0; x < width; x++, p += image.channels) {
      for (let c = 0; c < 3; c++) result[out++] = image.data[p + c];
    }
  }
  return {data: result, width, height, channels: 3};
}

// The size that MMAction2's Resize gives.
function resizedSize(image, step) {
  if (!step.keep_ratio) return step.scale;
  let factor = step.scale;
  if (Array.isArray(factor)) {
    let long = Math.max(...factor), short = Math.min(...factor);
    if (short === -1) { short = long; long = Infinity; }
    factor = Math.min(long / Math.max(image.width, image.height),
                      short / Math.min(image.width, image.height));
  }
  return [image.width, image.height].map(
    (side) => Math.floor(side * factor + 0.5));
}

class StepRecognizer {
  // facts: model.json; session: an ort.InferenceSession of model.onnx
  constructor(facts, session) {
    this.facts = facts;
    this.session = session;
    this.labels = facts.labels;
    this.reset();
  }

  static async load(folder) {
    ort.env.wasm.wasmPaths = {
      mjs: new URL(`${folder}/ort/ort-wasm-simd-threaded.mjs`,
                   document.baseURI).href,
      wasm: new URL(`${folder}/ort/ort-wasm-simd-threaded.wasm`,
                    document.baseURI).href,
    };
    // More threads need headers that a plain web server does not send.
    ort.env.wasm.numThreads = self.crossOriginIsolated ?
      Math.min(4, navigator.hardwareConcurrency || 1) : 1;
    const facts = await (await fetch(`${folder}/model.json`)).json();
    const session = await ort.InferenceSession.create(
      `${folder}/model.onnx`, {executionProviders: ['wasm']});
    return new StepRecognizer(facts, session);
  }

  // Start over.
  reset() {
    this.state = {};
    for (const {input, shape, dtype} of this.facts.state) {
      const size = shape.reduce((a, b) => a * b, 1);
      const data = dtype === 'int64' ? new BigInt64Array(size) :
        new Float32Array(size);
      this.state[input] = new ort.Tensor(dtype, data, [1, ...shape]);
    }
  }

  // image: ImageData -> float32 [1, 3, h, w]
  prepare(image) {
    const {steps, size, mean, std, channel_order: order} =
      this.facts.preprocessing;
    let pixels = {data: image.data, width: image.width, height: image.height,
                  channels: 4};
    for (const step of steps) {
      pixels = step.type === 'Resize' ?
        resize(pixels, ...resizedSize(pixels, step)) :
        crop(pixels, ...step.crop_size);
    }
    const [height, width] = size;
    if (pixels.width !== width || pixels.height !== height) {
      throw new Error(`frames end in ${pixels.width}x${pixels.height}, and ` +
                      `the model takes ${width}x${height}`);
    }
    const area = height * width, skip = pixels.channels;
    const x = new Float32Array(3 * area);
    for (let c = 0; c < 3; c++) {
      const from = order === 'BGR' ? 2 - c : c;
      for (let k = 0; k < area; k++) {
        x[c * area + k] = (pixels.data[k * skip + from] - mean[c]) / std[c];
      }
    }
    return new ort.Tensor('float32', x, [1, 3, height, width]);
  }

  // One more frame: ImageData -> scores, Float32Array [classes]
  async step(image) {
    // Of this stream: reset() may begin another one while the model runs.
    const state = this.state;
    const after = await this.session.run(
      {frames: this.prepare(image), ...state});
    for (const {input, output} of this.facts.state) {
      state[input] = after[output];
    }
    return after.scores.data;
  }
}
