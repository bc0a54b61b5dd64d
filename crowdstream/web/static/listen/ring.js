// A ring buffer of stereo frames between the receiver and the player.
//
// One writer, one reader, no lock. Over a SharedArrayBuffer they are two threads: the writer stores
// the samples before WRITE, and the reader loads WRITE first. Over an ArrayBuffer both ends are in
// the playing thread, and the writer's calls arrive as messages (`apply`).

export const CAPACITY = 1 << 17; // frames: 2.7 s at 48 kHz; a power of two
const FIELDS = 16;

// 32-bit fields in front of the samples. WRITE, READ and START count frames and wrap around.
export const WRITE = 0;
export const READ = 1;
export const EPOCH = 2; // incremented by the writer when the following frames are unrelated
export const START = 3; // the first frame of this epoch
export const RATE = 4; // sample rate of this epoch, Hz
export const TARGET = 5; // frames that the ring should hold on average
export const GAPS = 6; // number of underruns of the player
export const SKIPS = 7; // number of times the player skipped frames because the ring was too full
export const SPEED = 8; // deviation from the nominal speed, in ppm
export const FILL = 9; // frames in the ring, averaged by the player
export const PLAYING = 10; // 1 while it plays, 0 while it waits for frames
export const QUANTUM = 11; // duration of a quantum in microseconds

export class Ring {
  // `buffer`: that of another `Ring`, to become its other end.
  constructor(buffer) {
    const Kind = globalThis.SharedArrayBuffer && globalThis.crossOriginIsolated
      ? SharedArrayBuffer : ArrayBuffer;
    this.buffer = buffer ?? new Kind(4 * FIELDS + 8 * CAPACITY);
    this.fields = new Int32Array(this.buffer, 0, FIELDS);
    this.samples = new Float32Array(this.buffer, 4 * FIELDS, 2 * CAPACITY);
  }

  get(field) {
    return Atomics.load(this.fields, field);
  }

  set(field, value) {
    Atomics.store(this.fields, field, value);
  }

  // Start an epoch: another stream, or another sample rate.
  begin(rate) {
    this.set(START, this.get(WRITE));
    this.set(RATE, rate);
    this.set(EPOCH, (this.get(EPOCH) + 1) | 0);
  }

  // Append interleaved stereo samples. Frames that were not read in time are overwritten.
  write(samples) {
    const at = this.get(WRITE);
    const place = 2 * (at & (CAPACITY - 1));
    const straight = Math.min(samples.length, this.samples.length - place);
    this.samples.set(samples.subarray(0, straight), place);
    this.samples.set(samples.subarray(straight), 0);
    this.set(WRITE, (at + samples.length / 2) | 0);
  }

  // Apply a call of a remote writer: {begin: rate} | {samples} | {target: frames}.
  apply(message) {
    if (message.begin !== undefined) this.begin(message.begin);
    if (message.samples !== undefined) this.write(message.samples);
    if (message.target !== undefined) this.set(TARGET, message.target);
  }
}
