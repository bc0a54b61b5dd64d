// The player: reads a ring at the speed at which it fills, without clicks.
//
// It is independent of the context and the thread: the worklet, the fallback and tests call it.

import {
  CAPACITY, EPOCH, FILL, GAPS, PLAYING, QUANTUM, RATE, READ, SKIPS, SPEED, START, TARGET, WRITE,
} from "./ring.js";
import { makeTable, PHASES } from "./sinc.js";

// The speed follows the fill. The proportional and the integral part form a critically damped loop
// (KI = KP^2 / 4) with a time constant of half a minute: a difference of 200 ppm between two crystals
// shifts the fill by 3 ms while the loop settles. Both parts are bounded: the pitch is never off by
// more than 0.095 % (1.6 cents), and changes by less than a tenth of a cent per second.
const KP = 0.05;
const KI = KP * KP / 4;
const MAX_PROPORTIONAL = 250e-6;
const MAX_INTEGRAL = 700e-6; // clocks made by software are off by up to this
const SLEW = 50e-6; // per second
const FILL_SECONDS = 1; // averaging time of the fill, which rises and falls by a chunk
const TOO_FULL_SECONDS = 0.25; // above the target: more is skipped instead of played off slowly
const PRIME_SECONDS = 0.3;

const STOPPED = 0;
const PRIMING = 1; // advances silently, to measure the average fill
const RUNNING = 2;

export class Player {
  // `rate`: sample rate of the output; `quantum`: frames per call.
  constructor(ring, rate, quantum) {
    this.ring = ring;
    this.rate = rate;
    this.quantum = quantum;
    this.state = STOPPED;
    this.epoch = 0;
    this.sourceRate = 0;
    this.at = 0; // frame of the ring, and the fraction after it
    this.phase = 0;
    this.speed = 0;
    this.integral = 0;
    this.fill = 0;
    this.above = null; // frames by which the maximum of the fill exceeds its average
    this.fade = new Float32Array(quantum); // from 0 to 1
    for (let i = 0; i < quantum; i += 1) this.fade[i] = 0.5 - 0.5 * Math.cos(Math.PI * (i + 0.5) / quantum);
    ring.set(QUANTUM, Math.round(1e6 * quantum / rate));
  }

  // Fill two arrays of `quantum` frames.
  process(left, right) {
    const ring = this.ring;
    const write = ring.get(WRITE);
    const changed = ring.get(EPOCH) !== this.epoch;
    if (this.state !== RUNNING && changed) this.adopt();
    if (this.sourceRate === 0) return this.silence(left, right);
    let rising = false;
    if (this.state !== RUNNING) {
      if (!(this.state === STOPPED ? this.seek(write) : this.prime(write))) {
        return this.silence(left, right);
      }
      rising = true;
    }
    const waiting = ((write - this.at) | 0) - this.phase;
    const step = this.nominal * (1 + this.speed);
    const used = this.quantum * step;
    this.regulate(waiting);
    this.read(left, right, step);
    // One quantum is kept in reserve, for a fade-out.
    const short = waiting < 2 * used + this.taps + 1;
    const full = waiting > this.ring.get(TARGET) + TOO_FULL_SECONDS * this.sourceRate;
    if (changed || short || full) {
      if (short && !changed) ring.set(GAPS, ring.get(GAPS) + 1);
      else if (full && !changed) ring.set(SKIPS, ring.get(SKIPS) + 1);
      this.stop(left, right);
    }
    if (rising) this.shape(left, right, false);
    ring.set(READ, this.at);
    return undefined;
  }

  // Adopt the ring's current epoch.
  adopt() {
    const ring = this.ring;
    this.epoch = ring.get(EPOCH);
    this.at = ring.get(START);
    this.phase = 0;
    this.state = STOPPED;
    const rate = ring.get(RATE);
    if (rate === this.sourceRate) return;
    this.sourceRate = rate;
    this.nominal = rate / this.rate;
    const { taps, table } = makeTable(this.nominal);
    this.taps = taps;
    this.table = table;
    // Buffer for the longest stretch read per quantum, both channels.
    this.stretch = new Float32Array(2 * (Math.ceil(this.quantum * this.nominal * 1.01) + taps + 2));
    this.integral = 0;
    this.speed = 0;
    this.above = null;
  }

  // Wait until enough frames are there, then move to where the average fill meets the target.
  seek(write) {
    const ring = this.ring;
    const target = ring.get(TARGET);
    if (target === 0) return false; // no target yet
    const wanted = Math.max(Math.round(target + (this.above ?? 0)), this.least);
    const there = (write - ring.get(START)) | 0;
    const waiting = Math.min((write - this.at) | 0, there < 0 ? CAPACITY : there);
    if (waiting < wanted) return false;
    this.at = (write - wanted) | 0;
    this.phase = 0;
    if (this.above !== null) return this.run();
    this.state = PRIMING;
    this.primed = { sum: 0, most: 0, count: 0 };
    return false;
  }

  // Chunks arrive, and quanta are requested, several at a time and at irregular times: the average
  // fill is therefore measured.
  prime(write) {
    const { primed, quantum } = this;
    const waiting = (write - this.at) | 0;
    primed.sum += waiting;
    primed.most = Math.max(primed.most, waiting);
    primed.count += 1;
    const enough = primed.count * quantum >= PRIME_SECONDS * this.rate;
    if (enough) {
      const mean = primed.sum / primed.count;
      const moved = Math.round(mean - this.ring.get(TARGET));
      if (waiting - moved >= this.least) {
        this.above = primed.most - mean;
        this.at = (this.at + moved) | 0;
        return this.run();
      }
    }
    const whole = this.phase + quantum * this.nominal;
    this.at = (this.at + Math.floor(whole)) | 0;
    this.phase = whole - Math.floor(whole);
    return false;
  }

  // Minimum number of frames to start with.
  get least() {
    return Math.ceil(3 * this.quantum * this.nominal) + this.taps + 2;
  }

  run() {
    this.fill = this.ring.get(TARGET);
    this.state = RUNNING;
    this.ring.set(PLAYING, 1);
    return true;
  }

  // Stop reading. Returns whether it was playing.
  interrupt() {
    const played = this.state === RUNNING;
    this.state = STOPPED;
    this.ring.set(PLAYING, 0);
    return played;
  }

  stop(left, right) {
    this.shape(left, right, true);
    this.interrupt();
  }

  shape(left, right, falling) {
    const last = this.quantum - 1;
    for (let i = 0; i <= last; i += 1) {
      const gain = this.fade[falling ? last - i : i];
      left[i] *= gain;
      right[i] *= gain;
    }
  }

  silence(left, right) {
    left.fill(0);
    right.fill(0);
  }

  // Adjust the speed slightly towards a fill at its target.
  regulate(waiting) {
    const seconds = this.quantum / this.rate;
    this.fill += (waiting - this.fill) * Math.min(1, seconds / FILL_SECONDS);
    const error = (this.fill - this.ring.get(TARGET)) / this.sourceRate;
    const proportional = bound(KP * error, MAX_PROPORTIONAL);
    // Anti-windup: do not integrate while the proportional part is at its limit.
    if (Math.abs(KP * error) < MAX_PROPORTIONAL) {
      this.integral = bound(this.integral + KI * error * seconds, MAX_INTEGRAL);
    }
    this.speed += bound(proportional + this.integral - this.speed, SLEW * seconds);
    this.ring.set(SPEED, Math.round(1e6 * this.speed));
    this.ring.set(FILL, Math.round(this.fill));
  }

  // Interpolate a quantum from the ring, and advance.
  read(left, right, step) {
    const { taps, table, stretch, quantum } = this;
    const frames = Math.ceil(this.phase + quantum * step) + taps;
    const mask = 2 * CAPACITY - 1;
    const samples = this.ring.samples;
    let from = 2 * this.at;
    for (let i = 0; i < 2 * frames; i += 1, from += 1) stretch[i] = samples[from & mask];
    let place = this.phase;
    for (let i = 0; i < quantum; i += 1) {
      const whole = Math.floor(place);
      const exact = (place - whole) * PHASES;
      const row = Math.floor(exact);
      const part = exact - row;
      let first = row * taps;
      let second = first + taps;
      let from2 = 2 * whole;
      let sumLeft = 0;
      let sumRight = 0;
      for (let tap = 0; tap < taps; tap += 1) {
        const low = table[first];
        const weight = low + part * (table[second] - low);
        sumLeft += weight * stretch[from2];
        sumRight += weight * stretch[from2 + 1];
        first += 1;
        second += 1;
        from2 += 2;
      }
      left[i] = sumLeft;
      right[i] = sumRight;
      place += step;
    }
    const whole = Math.floor(place);
    this.at = (this.at + whole) | 0;
    this.phase = place - whole;
  }
}

function bound(value, most) {
  return Math.max(-most, Math.min(most, value));
}
