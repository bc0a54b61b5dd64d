// A ring of stereo frames between who receives the sound and who plays it.
//
// One writer, one reader, no lock. Over a SharedArrayBuffer they are two threads: samples are
// stored first, then WRITE, and the reader loads WRITE first. Over an ArrayBuffer both ends are
// in the thread that plays, and the writer's calls come as messages (`apply`).

export const CAPACITY = 1 << 17; // frames: 2.7 s at 48 kHz; a power of two
const FIELDS = 16;

// Fields of 32 bits, in front of the samples. WRITE, READ and START count frames and wrap around.
export const WRITE = 0;
export const READ = 1;
export const EPOCH = 2; // raised by the writer when what follows does not belong to what was
export const START = 3; // the first frame of this epoch
export const RATE = 4; // sample rate of this epoch, Hz
export const TARGET = 5; // frames that should wait here on average
export const GAPS = 6; // times the player ran out of frames
export const SKIPS = 7; // times it left out frames because too many waited
export const SPEED = 8; // its deviation from the nominal speed, in millionths
export const FILL = 9; // frames that wait, averaged by the player
export const PLAYING = 10; // 1 while it plays, 0 while it waits for frames
export const QUANTUM = 11; // microseconds of sound that it takes at a time

export class Ring {
  // `buffer`: one that another `Ring` made, to be its other end.
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

  // What follows is another stream, or has another sample rate.
  begin(rate) {
    this.set(START, this.get(WRITE));
    this.set(RATE, rate);
    this.set(EPOCH, (this.get(EPOCH) + 1) | 0);
  }

  // Put interleaved stereo samples behind the latest ones. What was not read in time is lost.
  write(samples) {
    const at = this.get(WRITE);
    const place = 2 * (at & (CAPACITY - 1));
    const straight = Math.min(samples.length, this.samples.length - place);
    this.samples.set(samples.subarray(0, straight), place);
    this.samples.set(samples.subarray(straight), 0);
    this.set(WRITE, (at + samples.length / 2) | 0);
  }

  // Carry out what a writer elsewhere has sent: {begin: rate} | {samples} | {target: frames}.
  apply(message) {
    if (message.begin !== undefined) this.begin(message.begin);
    if (message.samples !== undefined) this.write(message.samples);
    if (message.target !== undefined) this.set(TARGET, message.target);
  }
}
