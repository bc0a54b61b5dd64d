// The fallback without an AudioWorklet, which browsers provide only on secure pages (HTTPS or
// localhost): the page's own thread schedules blocks of sound ahead of time.
//
// A page that is busy for longer than `ahead` interrupts the sound; `ahead` then grows.

import { Player } from "./player.js";
import { GAPS } from "./ring.js";

const BLOCK = 1024; // frames
const FADE = 128; // frames of the fade-out, in case nothing follows
const AHEAD_LEAST = 0.2;
const AHEAD_MOST = 0.8;
const GROWTH = 1.5; // factor for `ahead` after each interruption

export class Scheduled {
  // `context` plays what `ring` brings into `output`.
  constructor(context, ring, output) {
    this.context = context;
    this.ring = ring;
    this.player = new Player(ring, context.sampleRate, BLOCK);
    this.gate = context.createGain();
    this.gate.connect(output);
    this.ahead = AHEAD_LEAST;
    this.until = 0; // frame of the context up to which sound is scheduled
    this.fading = false; // whether a fade-out is scheduled there
    this.left = new Float32Array(BLOCK);
    this.right = new Float32Array(BLOCK);
  }

  // Schedule missing blocks; call it about every 20 ms.
  pump() {
    const { context, player } = this;
    if (context.state !== "running") return;
    const rate = context.sampleRate;
    const now = context.currentTime;
    if (this.until - 2 * FADE < now * rate) this.start(now, rate);
    if (this.until >= (now + this.ahead) * rate) return;
    if (this.fading) this.gate.gain.cancelScheduledValues((this.until - FADE) / rate);
    while (this.until < (now + this.ahead) * rate) {
      player.process(this.left, this.right);
      this.schedule(rate);
    }
    this.fadeAt(rate);
  }

  // Nothing is scheduled: start a full `ahead` later. Otherwise those frames would be taken from the
  // ring at once, and it would run dry.
  start(now, rate) {
    if (this.player.interrupt()) {
      this.ahead = Math.min(AHEAD_MOST, this.ahead * GROWTH);
      this.ring.set(GAPS, this.ring.get(GAPS) + 1);
    }
    this.until = Math.ceil((now + this.ahead) * rate);
    this.fading = false;
    const { gain } = this.gate;
    gain.cancelScheduledValues(0);
    gain.setValueAtTime(0, now);
    gain.setValueAtTime(0, this.until / rate);
    gain.linearRampToValueAtTime(1, (this.until + FADE) / rate);
  }

  schedule(rate) {
    const buffer = this.context.createBuffer(2, BLOCK, rate);
    buffer.copyToChannel(this.left, 0);
    buffer.copyToChannel(this.right, 1);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.gate);
    source.start(this.until / rate);
    this.until += BLOCK;
  }

  // Schedule a fade-out, in case the page is busy when the next block is due.
  fadeAt(rate) {
    const { gain } = this.gate;
    const begin = (this.until - FADE) / rate;
    gain.cancelScheduledValues(begin);
    gain.setValueAtTime(1, begin);
    gain.linearRampToValueAtTime(0, this.until / rate);
    this.fading = true;
  }

  // Restart after an intended pause.
  rest() {
    this.player.interrupt();
    this.until = 0;
  }
}
