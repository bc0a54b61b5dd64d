// The player: reads a ring at the speed at which it fills, and never makes a click.
//
// It knows neither context nor thread: the worklet calls it, the fallback, and tests.

import {
  CAPACITY, EPOCH, FILL, GAPS, PLAYING, QUANTUM, RATE, READ, SKIPS, SPEED, START, TARGET, WRITE,
} from "./ring.js";
import { makeTable, PHASES } from "./sinc.js";

// How the speed follows the fill. Proportional and integral part make a loop that is critically
// damped (KI = KP^2 / 4), with a time constant of half a minute: 200 ppm between two crystals
// move the fill by 3 ms on the way. Both parts are bounded, so pitch is never off by more
// than 0.095 % (1.6 cents), and it changes by less than a tenth of a cent in a second.
const KP = 0.05;
const KI = KP * KP / 4;
const MAX_PROPORTIONAL = 250e-6;
const MAX_INTEGRAL = 700e-6; // clocks that are made by software are off by so much
const SLEW = 50e-6; // a second
const FILL_SECONDS = 1; // over which the fill is averaged: it rises and falls by a chunk
const TOO_FULL_SECONDS = 0.25; // so much above the target is left out, not played off slowly
const PRIME_SECONDS = 0.3;

const STOPPED = 0;
const PRIMING = 1; // it moves on in silence, to learn how much waits on average
const RUNNING = 2;

export class Player {
  // `rate`: sample rate of the output; `quantum`: frames that are asked for at a time.
  constructor(ring, rate, quantum) {
    this.ring = ring;
    this.rate = rate;
    this.quantum = quantum;
    this.state = STOPPED;
    this.epoch = 0;
    this.sourceRate = 0;
    this.at = 0; // frame of the ring, and how far behind it
    this.phase = 0;
    this.speed = 0;
    this.integral = 0;
    this.fill = 0;
    this.above = null; // how far above its average the fill is, in frames, at its highest
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
    // One quantum is always kept back, in which the sound can fade.
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

  // Take up the epoch that the ring is in.
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
    // The longest stretch that is read for one quantum, both channels.
    this.stretch = new Float32Array(2 * (Math.ceil(this.quantum * this.nominal * 1.01) + taps + 2));
    this.integral = 0;
    this.speed = 0;
    this.above = null;
  }

  // Wait until enough is there, then go to where as much waits, on average, as it should.
  seek(write) {
    const ring = this.ring;
    const target = ring.get(TARGET);
    if (target === 0) return false; // nobody has decided yet
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

  // Chunks come, and quanta are asked for, several at a time and at times of their own: where the
  // average lies is found by trying.
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

  // Frames without which there is no beginning.
  get least() {
    return Math.ceil(3 * this.quantum * this.nominal) + this.taps + 2;
  }

  run() {
    this.fill = this.ring.get(TARGET);
    this.state = RUNNING;
    this.ring.set(PLAYING, 1);
    return true;
  }

  // What was read last was the last of it, for now; whether it played.
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

  // Move the speed a little, towards where the fill stays at its target.
  regulate(waiting) {
    const seconds = this.quantum / this.rate;
    this.fill += (waiting - this.fill) * Math.min(1, seconds / FILL_SECONDS);
    const error = (this.fill - this.ring.get(TARGET)) / this.sourceRate;
    const proportional = bound(KP * error, MAX_PROPORTIONAL);
    // It is not summed up while the other part is at its end: it would overshoot.
    if (Math.abs(KP * error) < MAX_PROPORTIONAL) {
      this.integral = bound(this.integral + KI * error * seconds, MAX_INTEGRAL);
    }
    this.speed += bound(proportional + this.integral - this.speed, SLEW * seconds);
    this.ring.set(SPEED, Math.round(1e6 * this.speed));
    this.ring.set(FILL, Math.round(this.fill));
  }

  // Interpolate a quantum from the ring, and move on.
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
