// The close-up's image as a row of strips: each is painted once into its own canvas, and then only
// moved. The lanes of the stems are stacked in it.

import { Columns } from "./columns.js";
import { EXACT, MISSING, ROUGH } from "./peaks.js";

const WIDTH = 256; // device pixels of a strip
const MAX_STRIPS = 96; // kept
const PAINT_MS = 6; // per frame, for painting; remaining strips follow in the next frames
const WEIGHTS = [1, 2.5, 7]; // of low, mid and high: music has less energy at higher frequencies
const CORE = 0.8; // of the height, for the high band: the stem's own colour remains around it
const ROUGH_ALPHA = 0.5;
const SHOWN = Float32Array.from({ length: 256 }, (_, peak) => (peak / 255) ** 0.8);

export class Strips {
  constructor(peaks) {
    this._peaks = peaks;
    this._strips = new Map();
    this._old = []; // of the previous zoom: shown until new ones are painted
    this._scale = 0;
    this._columns = new Columns(WIDTH);
    peaks.addEventListener("tile", ({ detail }) => this._soil(detail));
  }

  /** Repaint everything: another size, or other colours. */
  clear() {
    this._strips.clear();
    this._old = [];
  }

  /** More data is known: repaint incomplete strips. */
  refresh() {
    for (const strip of this._strips.values()) if (!strip.exact) strip.dirty = true;
  }

  /**
   * Draw a range onto a context. `scale`: device pixels per second; `left`: pixel from the beginning
   * of the track at the context's left edge; `lanes`: [{top, height, alpha}]. Returns whether all
   * strips were painted; if not, draw again with the next frame.
   */
  draw(context, { scale, left, width, height, lanes, colours }) {
    if (scale !== this._scale) {
      const kept = [...this._strips.values()].filter((strip) => strip.canvas);
      if (kept.length) this._old = kept;
      this._strips = new Map();
      this._scale = scale;
    }
    const first = Math.floor(left / WIDTH);
    const last = Math.floor((left + width - 1) / WIDTH);
    const until = performance.now() + PAINT_MS;
    let complete = true;
    for (let index = first; index <= last; index += 1) {
      let strip = this._strips.get(index);
      if (!strip || strip.dirty || strip.height !== height) {
        if (performance.now() < until) strip = this._paint(strip, index, height, lanes, colours);
        else complete = false;
      }
      if (strip && strip.canvas && strip.height === height) {
        this._lay(context, strip, index * WIDTH - left, WIDTH, lanes);
      } else this._layOld(context, index, left, height, lanes);
    }
    if (complete) this._old = [];
    return complete;
  }

  _lay(context, strip, x, width, lanes) {
    for (const { top, height, alpha } of lanes) {
      context.globalAlpha = alpha;
      context.drawImage(strip.canvas, 0, top, WIDTH, height, x, top, width, height);
    }
    context.globalAlpha = 1;
  }

  // Draw the part of old strips, from another zoom, at the position of a new strip.
  _layOld(context, index, left, height, lanes) {
    const begin = (index * WIDTH) / this._scale;
    const end = ((index + 1) * WIDTH) / this._scale;
    context.save();
    context.beginPath();
    context.rect(index * WIDTH - left, 0, WIDTH, height);
    context.clip();
    for (const strip of this._old) {
      const from = (strip.index * WIDTH) / strip.scale;
      const to = ((strip.index + 1) * WIDTH) / strip.scale;
      if (to <= begin || from >= end || strip.height !== height) continue;
      this._lay(context, strip, from * this._scale - left, (to - from) * this._scale, lanes);
    }
    context.restore();
  }

  _paint(strip, index, height, lanes, colours) {
    if (!strip) {
      strip = { index, scale: this._scale, canvas: document.createElement("canvas") };
      this._strips.set(index, strip);
      while (this._strips.size > MAX_STRIPS) this._strips.delete(this._strips.keys().next().value);
    }
    if (strip.height !== height) {
      strip.canvas.width = WIDTH;
      strip.canvas.height = Math.max(1, height);
      strip.height = height;
    }
    strip.dirty = false;
    strip.exact = true;
    const context = strip.canvas.getContext("2d");
    const image = context.createImageData(WIDTH, Math.max(1, height));
    const pixels = new Uint32Array(image.data.buffer);
    const width = 1 / this._scale;
    lanes.forEach((lane, stem) => {
      this._columns.read(this._peaks, stem, index * WIDTH * width, width, WIDTH);
      if (!paintLane(pixels, this._columns, lane, colours.stems[stem].bands)) strip.exact = false;
    });
    context.putImageData(image, 0, 0);
    return strip;
  }

  _soil({ stem, level, index }) {
    const density = this._peaks.density(stem, level);
    const size = this._peaks.tileSize;
    const [from, to] = [(index * size) / density, ((index + 1) * size) / density];
    for (const strip of this._strips.values()) {
      const begin = (strip.index * WIDTH) / strip.scale;
      const end = ((strip.index + 1) * WIDTH) / strip.scale;
      if (!strip.exact && end > from && begin < to) strip.dirty = true;
    }
  }
}

// Paint a lane around its middle: the peak sets the height, the bands those of three layers.
function paintLane(pixels, columns, { top, height }, colours) {
  const half = (height - 1) / 2;
  const middle = top + half;
  let exact = true;
  for (let column = 0; column < WIDTH; column += 1) {
    const known = columns.known[column];
    if (known !== EXACT) exact = false;
    if (known === MISSING) continue;
    const whole = interpolate(columns.peak[column]) * half;
    if (whole <= 0) continue;
    const low = columns.low[column] * WEIGHTS[0];
    const mid = columns.mid[column] * WEIGHTS[1];
    const high = columns.high[column] * WEIGHTS[2];
    const most = Math.max(low, mid, high, 1e-12);
    const to = [low, mid, high].map((energy) => whole * Math.sqrt(energy / most));
    const alpha = known === ROUGH ? ROUGH_ALPHA : 1;
    const first = Math.max(top, Math.floor(middle - whole));
    const last = Math.min(top + height - 1, Math.ceil(middle + whole));
    for (let y = first; y <= last; y += 1) {
      const away = Math.abs(y - middle);
      const layer = away <= CORE * to[2] ? 2 : away <= Math.max(to[1], to[2]) ? 1 : 0;
      // Antialiasing: the outermost pixel's opacity is its covered part.
      const covered = Math.min(1, Math.max(0, whole - away + 0.5));
      const opaque = Math.round(255 * covered * alpha);
      if (opaque) pixels[y * WIDTH + column] = ((opaque << 24) | colours[layer]) >>> 0;
    }
  }
  return exact;
}

const interpolate = (peak) => {
  const low = Math.floor(peak);
  return low >= 255 ? SHOWN[255] : SHOWN[low] + (SHOWN[low + 1] - SHOWN[low]) * (peak - low);
};
