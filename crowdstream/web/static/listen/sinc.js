// The interpolation filter: a windowed sinc, tabulated at phases between two samples.

export const PHASES = 512; // with linear interpolation between two of them
const TAPS = 32; // distortion at 1 kHz below -100 dB
const BETA = 9; // of the Kaiser window: side lobes below -90 dB

// Modified Bessel function of the first kind, order 0, as a power series.
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

// The table for reading `ratio` source frames per output frame: {taps, table}. Row p of
// (PHASES + 1) holds the taps for a position p / PHASES after tap taps / 2 - 1. Above ratio 1 the
// cutoff is lowered to prevent aliasing, and the filter is longer.
export function makeTable(ratio) {
  const cutoff = Math.min(1, 1 / ratio);
  const taps = 2 * Math.ceil(TAPS / cutoff / 2);
  const table = new Float32Array((PHASES + 1) * taps);
  const half = taps / 2;
  const row = new Float64Array(taps);
  for (let phase = 0; phase <= PHASES; phase += 1) {
    let sum = 0;
    for (let tap = 0; tap < taps; tap += 1) {
      const x = tap - (half - 1) - phase / PHASES;
      const window = bessel(BETA * Math.sqrt(Math.max(0, 1 - (x / half) ** 2))) / bessel(BETA);
      const angle = Math.PI * cutoff * x;
      row[tap] = window * (Math.abs(angle) < 1e-9 ? 1 : Math.sin(angle) / angle);
      sum += row[tap];
    }
    for (let tap = 0; tap < taps; tap += 1) table[phase * taps + tap] = row[tap] / sum;
  }
  return { taps, table };
}
