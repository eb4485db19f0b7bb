// Events from the scores of a stream: cnnlstm_mm/streaming/events.py in
// JavaScript, where all options are explained.
'use strict';

class EventDetector {
  constructor(labels, options = {}) {
    Object.assign(this, {high: 0.6, low: 0.3, smoothing: 0, window: 0,
                         min_length: 0, merge_gap: 0, none_class: null,
                         longest_step: 2}, options);
    this.labels = labels;
    this.time = null;
    this.lastStep = 0;
    this.begin();
  }

  begin() {
    this.runs = new Map();
    this.smoothed = null;
    this.recent = [];
  }

  // Events that count already and have not ended.
  get ongoing() {
    return this.sorted([...this.runs].map(
      ([k, run]) => this.event(k, run, run.active ? this.time : run.end)));
  }

  // scores [classes], time in seconds -> events that are known to have ended
  update(scores, time) {
    if (this.time !== null && time < this.time) {
      throw new Error(`a frame of ${time} s came after one of ${this.time} s`);
    }
    const ended = [];
    if (this.time !== null && time - this.time > this.longest_step) {
      ended.push(...this.close(this.time + this.lastStep));
    } else if (this.time !== null) {
      this.lastStep = time - this.time;
    }
    const smooth = this.smooth(Array.from(scores), time);
    this.time = time;
    const none = this.none_class;
    const silent = none !== null && smooth.indexOf(Math.max(...smooth)) === none;
    const active = smooth.map((s, k) => s >= this.low && !silent && k !== none);
    for (const [k, run] of [...this.runs]) {
      if (run.active && !active[k]) {
        run.active = false;
        run.end = time;
      }
      if (!run.active) {
        const gap = time - run.end;
        if (gap >= this.merge_gap) {
          this.runs.delete(k);
          ended.push(this.event(k, run, run.end));
        } else if (active[k]) {
          run.active = true;
        }
      }
    }
    smooth.forEach((score, k) => {
      if (!active[k]) return;
      if (!this.runs.has(k)) {
        this.runs.set(k, {start: time, end: 0, score, active: true});
      }
      const run = this.runs.get(k);
      run.score = Math.max(run.score, score);
    });
    return this.sorted(ended);
  }

  // The events that had not ended; another stream may begin.
  finish() {
    const ended = this.time === null ? [] :
      this.close(this.time + this.lastStep);
    this.time = null;
    this.lastStep = 0;
    return this.sorted(ended);
  }

  close(end) {
    const ended = [...this.runs].map(
      ([k, run]) => this.event(k, run, run.active ? end : run.end));
    this.begin();
    return ended;
  }

  smooth(scores, time) {
    if (this.window) {
      this.recent.push([time, scores]);
      while (this.recent[0][0] <= time - this.window) this.recent.shift();
      return scores.map((_, k) => this.recent.reduce(
        (sum, [, row]) => sum + row[k], 0) / this.recent.length);
    }
    if (this.smoothed === null || !this.smoothing) {
      this.smoothed = scores;
    } else {
      const share = -Math.expm1(-(time - this.time) / this.smoothing);
      this.smoothed = this.smoothed.map((s, k) => s + share * (scores[k] - s));
    }
    return this.smoothed;
  }

  event(k, run, end) {
    if (run.score < this.high || end - run.start < this.min_length) return null;
    return {start: run.start, end, label: this.labels[k], score: run.score};
  }

  sorted(events) {
    return events.filter((event) => event !== null)
      .sort((a, b) => a.start - b.start || a.end - b.end);
  }
}

if (typeof module !== 'undefined') module.exports = {EventDetector};
