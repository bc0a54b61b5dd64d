// Joins chunks; missing frames become silence of the same length, with fades to avoid clicks.

const FADE = 256; // frames of the fade-out before a gap and of the fade-in after it
const MAX_GAP_SECONDS = 1; // a longer gap resets the stream
const TOLERANCE = 2; // frames: numbers of a stream at another rate are rounded

export class Joiner {
  // `sink`: has `begin(rate)` and `write(samples)`.
  constructor(sink) {
    this.sink = sink;
    this.jumps = 0;
    this.reset();
  }

  // Forget the previous chunks: the next one belongs to another stream.
  reset() {
    this.rate = 0;
    this.next = 0; // the stream's frame expected next
    this.last = new Float32Array(2 * FADE);
  }

  put(head, samples) {
    const perFrame = head.rate / head.streamRate;
    const missing = Math.round((head.frame - this.next) * perFrame);
    if (head.rate !== this.rate || missing < -TOLERANCE || missing > MAX_GAP_SECONDS * head.rate) {
      if (this.rate !== 0) this.jumps += 1;
      this.sink.begin(head.rate);
      this.rate = head.rate;
    } else if (missing > TOLERANCE) {
      this.jumps += 1;
      this.sink.write(this.bridge(missing));
      fadeIn(samples);
    }
    this.next = head.frame + Math.round(head.frames / perFrame);
    this.keep(samples);
    this.sink.write(samples);
  }

  keep(samples) {
    const length = this.last.length;
    if (samples.length >= length) {
      this.last.set(samples.subarray(samples.length - length));
    } else {
      this.last.copyWithin(0, samples.length);
      this.last.set(samples, length - samples.length);
    }
  }

  // `frames` of silence that begin with a fade-out of the preceding sound, played backwards: frames
  // already written may have been played, and mirroring continues them without a step.
  bridge(frames) {
    const silence = new Float32Array(2 * frames);
    const length = Math.min(FADE, frames);
    for (let i = 0; i < length; i += 1) {
      const gain = 0.5 + 0.5 * Math.cos(Math.PI * (i + 0.5) / length);
      const from = 2 * (FADE - 1 - i);
      silence[2 * i] = gain * this.last[from];
      silence[2 * i + 1] = gain * this.last[from + 1];
    }
    return silence;
  }
}

function fadeIn(samples) {
  const length = Math.min(FADE, samples.length / 2);
  for (let i = 0; i < length; i += 1) {
    const gain = 0.5 - 0.5 * Math.cos(Math.PI * (i + 0.5) / length);
    samples[2 * i] *= gain;
    samples[2 * i + 1] *= gain;
  }
}
