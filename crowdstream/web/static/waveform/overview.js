// The overview: the whole track, with its stems stacked in their colours.

import { flag, ticks } from "./closeup.js";
import { CUES, css } from "./colours.js";
import { Columns } from "./columns.js";
import { lines, usable } from "./grid.js";
import { EXACT } from "./peaks.js";

const MIN_LINES = 9; // CSS pixels between two grid lines
const PLAYED = 0.42; // opacity of the part before the playhead
const MIN_TOP = 0.35; // of full scale: quiet tracks are not scaled up beyond this

export class Overview {
  constructor(canvas, peaks) {
    this.canvas = canvas;
    this._context = canvas.getContext("2d");
    this._peaks = peaks;
    this._picture = document.createElement("canvas");
    this._dirty = true;
    this._painted = "";
    peaks.addEventListener("tile", () => this.refresh());
  }

  /** Repaint with the next frame: new data, or another look. */
  refresh() {
    this._dirty = true;
  }

  /** Draw a frame. */
  draw(view) {
    const { canvas } = this;
    const { ratio, colours, deck } = view;
    const context = this._context;
    const { width, height } = canvas;
    if (!width || !height) return;
    context.fillStyle = css(colours.ground);
    context.fillRect(0, 0, width, height);
    if (!deck || !deck.number || !(deck.length > 0)) return;
    const like = `${width} ${height} ${deck.number} ${view.audible.join()}`;
    if (this._dirty || like !== this._painted) this._paint(view, width, height);
    this._dirty = false;
    this._painted = like;
    const at = (seconds) => (seconds / deck.length) * width;
    const played = Math.max(0, Math.min(width, Math.round(at(view.position))));
    this._grid(at, view, height);
    context.globalAlpha = PLAYED;
    if (played) context.drawImage(this._picture, 0, 0, played, height, 0, 0, played, height);
    context.globalAlpha = 1;
    if (played < width) {
      context.drawImage(this._picture, played, 0, width - played, height, played, 0, width - played, height);
    }
    this._progress(view, width, height);
    this._window(at, view, width, height);
    this._regions(at, view, height);
    for (const [number, seconds] of Object.entries(deck.cues || {})) {
      flag(context, { x: Math.round(at(seconds)), ratio, height, head: 0, number, colour: CUES[(number - 1) % 8] });
    }
    context.fillStyle = css(colours.cue);
    context.beginPath();
    const cue = at(deck.cue || 0);
    context.moveTo(cue - 4 * ratio, height);
    context.lineTo(cue + 4 * ratio, height);
    context.lineTo(cue, height - 6 * ratio);
    context.fill();
    context.fillStyle = css(colours.ground, 0.7);
    context.fillRect(played - 2 * ratio, 0, 5 * ratio, height);
    context.fillStyle = css(colours.playhead);
    context.fillRect(Math.round(played - ratio / 2), 0, Math.max(2, Math.round(1.5 * ratio)), height);
  }

  // Each column is as high as all stems together, divided by their energies.
  _paint({ deck, colours, audible, ratio }, width, height) {
    const picture = this._picture;
    picture.width = width;
    picture.height = height;
    const context = picture.getContext("2d");
    const count = deck.stems.length;
    const stems = deck.stems.map(() => new Columns(width));
    const second = deck.length / width;
    stems.forEach((columns, stem) => columns.read(this._peaks, stem, 0, second, width));
    const together = new Float32Array(width);
    let top = MIN_TOP;
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (let stem = 0; stem < count; stem += 1) {
        if (audible[stem]) sum += (stems[stem].peak[x] / 255) ** 2;
      }
      together[x] = Math.sqrt(sum);
      if (together[x] > top) top = together[x];
    }
    const space = height - 2 * ratio;
    for (let x = 0; x < width; x += 1) {
      if (!together[x]) continue;
      const tall = Math.max(1, space * (together[x] / top) ** 0.9);
      let y = height;
      for (let stem = count - 1; stem >= 0; stem -= 1) {
        if (!audible[stem] || !stems[stem].peak[x]) continue;
        const share = (stems[stem].peak[x] / 255 / together[x]) ** 2;
        const part = tall * share;
        const rough = stems[stem].known[x] !== EXACT;
        const { low, mid, high } = stems[stem];
        const bright = (9 * high[x]) / Math.max(1e-12, low[x] + 2.5 * mid[x] + 9 * high[x]);
        context.fillStyle = shade(colours.stems[stem].base, bright, rough ? 0.5 : 0.95);
        context.fillRect(x, y - part, 1, part);
        y -= part;
      }
    }
  }

  _grid(at, { deck, colours, ratio, meter }, height) {
    const context = this._context;
    const least = (MIN_LINES * ratio * deck.length) / this.canvas.width;
    // The finest grid has one line per bar: single beats would look like a grey veil.
    const found = usable(deck.grid)
      ? lines(deck.grid, 0, deck.length, Math.max(least, 1.01 * beatLength(deck.grid)), meter)
      : ticks(0, deck.length, 6 * least);
    for (const { seconds, strong } of found) {
      context.fillStyle = css(colours.line, strong ? 0.32 : 0.14);
      context.fillRect(Math.round(at(seconds)), 0, Math.max(1, Math.round(ratio)), height);
    }
  }

  _regions(at, { deck, colours, selection, ratio }, height) {
    for (const [region, colour] of [[deck.loop, colours.loop], [selection, colours.selection]]) {
      if (!region) continue;
      const begin = Math.round(at(region[0]));
      const wide = Math.max(2 * ratio, Math.round(at(region[1])) - begin);
      this._context.fillStyle = css(colour, 0.32);
      this._context.fillRect(begin, 0, wide, height);
      this._context.fillStyle = css(colour);
      this._context.fillRect(begin, 0, wide, Math.round(2 * ratio));
    }
  }

  // The range that the close-up shows.
  _window(at, { position, span, colours, ratio }, width, height) {
    const begin = Math.max(0, at(position - span / 2));
    const end = Math.min(width, at(position + span / 2));
    this._context.fillStyle = css(colours.playhead, 0.07);
    this._context.fillRect(begin, 0, end - begin, height);
    this._context.strokeStyle = css(colours.playhead, 0.3);
    this._context.lineWidth = ratio;
    this._context.strokeRect(begin + ratio / 2, ratio / 2, Math.max(0, end - begin - ratio), height - ratio);
  }

  _progress({ ready, colours, ratio }, width, height) {
    if (ready >= 1) return;
    const thick = Math.round(2 * ratio);
    this._context.fillStyle = css(colours.line, 0.3);
    this._context.fillRect(0, height - thick, width, thick);
    this._context.fillStyle = css(colours.selection);
    this._context.fillRect(0, height - thick, width * ready, thick);
  }
}

const beatLength = (grid) =>
  (grid.seconds[grid.seconds.length - 1] - grid.seconds[0]) /
  Math.max(1e-9, grid.beats[grid.beats.length - 1] - grid.beats[0]);

const shade = (base, bright, alpha) =>
  css(base.map((value) => Math.round(value * (0.72 + 0.1 * bright) + 70 * bright)), alpha);

