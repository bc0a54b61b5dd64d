// Runs the player in virtual time: minutes of output are computed in a second.

import { Joiner } from "/page/listen/joiner.js";
import { Player } from "/page/listen/player.js";
import { FILL, GAPS, Ring, SKIPS, SPEED, TARGET } from "/page/listen/ring.js";

const CHUNK = 0.02;

// Reproducible random numbers from 0 to 1.
function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

// `source`, `output`: sample rates; `drift`: how much the server's clock is fast; `jitter`: largest
// delay of chunks in seconds; `target`: buffered seconds; `without`: numbers of chunks that never
// arrive; `steady`: the speed stays constant. Returns samples (base64 of float32), and fill (ms)
// and
// speed (ppm) four times per second.
globalThis.simulate = ({
  source, output, hertz, seconds, target, drift = 0, jitter = 0, without = [], from = 0,
  steady = false,
}) => {
  const ring = new Ring(new ArrayBuffer(new Ring().buffer.byteLength));
  const player = new Player(ring, output, 128);
  if (steady) player.regulate = () => {};
  const joiner = new Joiner({ begin: (rate) => ring.begin(rate), write: (samples) => ring.write(samples) });
  const chance = random(1);
  const frames = Math.round(source * CHUNK);
  const quanta = Math.ceil(seconds * output / 128);
  const kept = new Float32Array(128 * (quanta - Math.round(from * output / 128)));
  const skipped = quanta * 128 - kept.length;
  const left = new Float32Array(128);
  const right = new Float32Array(128);
  const curve = [];
  let sent = 0;
  let due = 0;
  for (let quantum = 0; quantum < quanta; quantum += 1) {
    const now = quantum * 128 / output;
    while (due <= now) {
      if (!without.includes(sent)) {
        const samples = new Float32Array(2 * frames);
        for (let i = 0; i < frames; i += 1) {
          const value = 0.5 * Math.sin(2 * Math.PI * hertz * ((sent * frames + i) % source) / source);
          samples[2 * i] = value;
          samples[2 * i + 1] = value;
        }
        const head = { frame: sent * frames, frames, rate: source, streamRate: source };
        joiner.put(head, samples);
        ring.set(TARGET, Math.round(target * source));
      }
      sent += 1;
      due = sent * CHUNK / (1 + drift) + jitter * chance();
    }
    player.process(left, right);
    const place = quantum * 128 - skipped;
    if (place >= 0) kept.set(left, place);
    if (quantum % Math.round(output / 512) === 0) {
      curve.push([now, 1000 * ring.get(FILL) / source, ring.get(SPEED)]);
    }
  }
  let text = "";
  const bytes = new Uint8Array(kept.buffer);
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return {
    samples: btoa(text), curve, gaps: ring.get(GAPS), skips: ring.get(SKIPS), jumps: joiner.jumps,
  };
};
