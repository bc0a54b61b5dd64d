// From buckets to pixel columns: the largest peak, the mean of each band, and how exact it is.

import { EXACT, MISSING, ROUGH } from "./peaks.js";

const STEP_DB = 0.375; // per step of a band's byte
const ENERGY = Float32Array.from({ length: 256 }, (_, byte) =>
  byte ? 10 ** (((byte - 255) * STEP_DB) / 10) : 0,
);

export class Columns {
  constructor(count) {
    this.peak = new Float32Array(count); // 0 to 255
    this.low = new Float32Array(count); // mean squares, 1 for a full-scale sine
    this.mid = new Float32Array(count);
    this.high = new Float32Array(count);
    this.known = new Uint8Array(count);
  }

  /** Read `count` columns of a stem, the first at `begin` s, each `width` s wide. */
  read(peaks, stem, begin, width, count) {
    this.peak.fill(0);
    this.known.fill(MISSING);
    const wanted = peaks.level(stem, 1 / width);
    if (wanted < 0) return;
    const levels = peaks.stems[stem].levels.length;
    const left = this._readLevel(peaks, stem, wanted, begin, width, count, true);
    if (!left) return;
    // Fill the rest from coarser levels.
    const { rough } = peaks.stems[stem];
    const from = rough >= 0 ? Math.max(rough, wanted + 1) : wanted + 1;
    for (let level = from; level < levels; level += 1) {
      if (!this._readLevel(peaks, stem, level, begin, width, count, false)) return;
    }
  }

  // Fills the missing columns; returns how many are still missing.
  _readLevel(peaks, stem, level, begin, width, count, first) {
    const density = peaks.density(stem, level);
    const total = peaks.stems[stem].levels[level];
    const size = peaks.tileSize;
    const fine = density * width < 1;
    let left = 0;
    let tile = null;
    let index = -1;
    for (let column = 0; column < count; column += 1) {
      if (!first && this.known[column] !== MISSING) continue;
      const from = (begin + column * width) * density;
      if (from < 0 || from >= total) {
        this.known[column] = EXACT; // silence before the beginning and after the end
        this.low[column] = this.mid[column] = this.high[column] = 0;
        continue;
      }
      const low = Math.floor(from);
      const high = Math.min(total, Math.max(low + 1, Math.floor(from + density * width)));
      let peak = 0;
      let known = EXACT;
      let [lows, mids, highs] = [0, 0, 0];
      for (let bucket = low; bucket < high; bucket += 1) {
        const at = Math.floor(bucket / size);
        if (at !== index) {
          index = at;
          tile = peaks.tile(stem, level, at);
        }
        const inside = bucket - at * size;
        const state = tile ? tile.known[inside] : MISSING;
        if (state < known) known = state;
        if (state === MISSING) break;
        const byte = 4 * inside;
        if (tile.data[byte] > peak) peak = tile.data[byte];
        lows += ENERGY[tile.data[byte + 1]];
        mids += ENERGY[tile.data[byte + 2]];
        highs += ENERGY[tile.data[byte + 3]];
      }
      if (known === MISSING) {
        left += 1;
        continue;
      }
      const buckets = high - low;
      this.known[column] = first ? known : ROUGH;
      this.peak[column] = fine ? this._between(tile, from, index * size, peak) : peak;
      this.low[column] = lows / buckets;
      this.mid[column] = mids / buckets;
      this.high[column] = highs / buckets;
    }
    return left;
  }

  // If a bucket is wider than a column, interpolate linearly between the middles of buckets.
  _between(tile, from, start, peak) {
    const at = from - start - 0.5;
    const low = Math.floor(at);
    if (low < 0 || low + 1 >= tile.count || tile.known[low + 1] === MISSING) return peak;
    const [a, b] = [tile.data[4 * low], tile.data[4 * low + 4]];
    return a + (b - a) * (at - low);
  }
}
