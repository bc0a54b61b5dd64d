// The way without an AudioWorklet, which browsers grant to secure pages only (HTTPS, or this same
// machine): blocks of sound that are scheduled ahead of time from the page's own thread.
//
// A page that is busy for longer than `ahead` interrupts the sound; then more is scheduled ahead.

import { Player } from "./player.js";
import { GAPS } from "./ring.js";

const BLOCK = 1024; // frames
const FADE = 128; // frames over which the sound goes out should nothing follow
const AHEAD_LEAST = 0.2;
const AHEAD_MOST = 0.8;
const GROWTH = 1.5; // of `ahead`, each time it was too short

export class Scheduled {
  // `context` plays what `ring` brings into `output`.
  constructor(context, ring, output) {
    this.context = context;
    this.ring = ring;
    this.player = new Player(ring, context.sampleRate, BLOCK);
    this.gate = context.createGain();
    this.gate.connect(output);
    this.ahead = AHEAD_LEAST;
    this.until = 0; // frame of the context up to which there is sound
    this.fading = false; // whether the end of the sound is planned there
    this.left = new Float32Array(BLOCK);
    this.right = new Float32Array(BLOCK);
  }

  // Schedule what is missing; to be called every 20 ms or so.
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

  // Nothing is scheduled any more: begin a whole `ahead` later, so that the ring, from which it
  // would be taken at once, does not run dry.
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

  // Should the page be busy when more is due, what there is ends softly.
  fadeAt(rate) {
    const { gain } = this.gate;
    const begin = (this.until - FADE) / rate;
    gain.cancelScheduledValues(begin);
    gain.setValueAtTime(1, begin);
    gain.linearRampToValueAtTime(0, this.until / rate);
    this.fading = true;
  }

  // Begin anew after a pause that was wanted.
  rest() {
    this.player.interrupt();
    this.until = 0;
  }
}
