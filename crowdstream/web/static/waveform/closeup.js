// The close-up view: scrolls under a fixed playhead, with one lane per stem.

import { CUES, css } from "./colours.js";
import { lines, usable } from "./grid.js";
import { Strips } from "./strips.js";

const GAP = 2; // CSS pixels between lanes
const HEAD = 14; // CSS pixels above them, for flags and bar numbers
const MUTED = 0.18; // opacity of an inaudible stem
const MIN_LINES = 5; // CSS pixels between two beat lines
const NAMED_LANE = 15; // minimum height of a lane with a name, in CSS pixels

export class CloseUp {
  constructor(canvas, peaks) {
    this.canvas = canvas;
    this._context = canvas.getContext("2d");
    this.strips = new Strips(peaks);
  }

  /** Draw a frame. Returns false if it is incomplete: draw again with the next frame. */
  draw(view) {
    const { canvas } = this;
    const { ratio, colours, deck } = view;
    const context = this._context;
    const { width, height } = canvas;
    if (!width || !height) return true;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = css(colours.ground);
    context.fillRect(0, 0, width, height);
    const scale = width / view.span;
    const left = Math.round(view.position * scale - width / 2);
    const at = (seconds) => Math.round(seconds * scale - left);
    const area = { context, ratio, width, height, scale, left, at, head: Math.round(HEAD * ratio) };
    if (!deck || !deck.number) return true;
    const lanes = this._lanes(area, view);
    this._outside(area, view);
    this._regions(area, view);
    this._middles(area, lanes, colours);
    const complete = this.strips.draw(context, { scale, left, width, height, lanes, colours });
    this._beats(area, view);
    this._names(area, view, lanes);
    this._marks(area, view);
    this._playhead(area, view);
    return complete;
  }

  _lanes({ height, head, ratio }, { deck, audible }) {
    const count = Math.max(1, deck.stems.length);
    const gap = Math.round(GAP * ratio);
    const space = height - head - gap * count;
    const lane = Math.max(1, Math.floor(space / count));
    return deck.stems.map((_, stem) => ({
      top: head + stem * (lane + gap),
      height: lane,
      alpha: audible[stem] ? 1 : MUTED,
    }));
  }

  _middles({ context, width, ratio }, lanes, colours) {
    lanes.forEach(({ top, height, alpha }, stem) => {
      context.fillStyle = css(colours.stems[stem].base, 0.055 * alpha);
      context.fillRect(0, top, width, height);
      context.fillStyle = css(colours.stems[stem].base, 0.35 * alpha);
      context.fillRect(0, Math.round(top + (height - ratio) / 2), width, Math.max(1, Math.round(ratio / 2)));
    });
  }

  // Shade the area before the beginning and after the end of the track.
  _outside({ context, width, height, at }, { deck, colours }) {
    context.fillStyle = css(colours.line, 0.1);
    const begin = at(0);
    const end = at(deck.length);
    if (begin > 0) context.fillRect(0, 0, Math.min(begin, width), height);
    if (end < width) context.fillRect(Math.max(0, end), 0, width, height);
  }

  _regions(area, { deck, colours, selection }) {
    if (deck.loop) this._region(area, deck.loop, colours.loop);
    if (selection) this._region(area, selection, colours.selection);
  }

  _region({ context, height, ratio, at }, [from, to], colour) {
    const begin = at(from);
    const end = at(to);
    context.fillStyle = css(colour, 0.15);
    context.fillRect(begin, 0, end - begin, height);
    context.fillStyle = css(colour, 0.9);
    const edge = Math.max(1, Math.round(1.5 * ratio));
    context.fillRect(begin, 0, edge, height);
    context.fillRect(end - edge, 0, edge, height);
    context.fillRect(begin, 0, end - begin, 2 * edge);
  }

  _beats({ context, width, height, ratio, scale, left, at, head }, { deck, colours, meter }) {
    const from = Math.max(0, left / scale);
    const to = Math.min(deck.length, (left + width) / scale);
    const least = (MIN_LINES * ratio) / scale;
    const thick = Math.max(1, Math.round(ratio));
    context.font = `${Math.round(9 * ratio)}px ${colours.font}`;
    context.textBaseline = "middle";
    let free = -1;
    for (const line of usable(deck.grid) ? lines(deck.grid, from, to, least, meter) : ticks(from, to, 40 * least)) {
      const x = at(line.seconds);
      context.fillStyle = css(colours.line, line.strong ? 0.55 : 0.22);
      const top = line.strong ? 0 : Math.round(head * 0.6);
      context.fillRect(x, top, line.strong ? Math.max(thick, Math.round(1.25 * ratio)) : thick, height - top);
      if ((line.strong || line.label) && x > free) {
        const text = line.label || String(Math.floor(line.beat / meter) + 1);
        context.fillStyle = css(colours.text, 0.75);
        context.fillText(text, x + 3 * ratio, head / 2);
        free = x + context.measureText(text).width + 12 * ratio;
      }
    }
  }

  _names({ context, ratio }, { deck, colours }, lanes) {
    if (!lanes.length || lanes[0].height < NAMED_LANE * ratio) return;
    context.font = `600 ${Math.round(10 * ratio)}px ${colours.font}`;
    context.textBaseline = "middle";
    lanes.forEach(({ top, alpha }, stem) => {
      const text = deck.stems[stem].name || `stem ${stem + 1}`;
      const wide = context.measureText(text).width;
      context.fillStyle = css(colours.ground, 0.72);
      context.fillRect(0, top, wide + 12 * ratio, 14 * ratio);
      context.fillStyle = css(colours.stems[stem].base, Math.max(0.45, alpha));
      context.fillText(text, 6 * ratio, top + 7.5 * ratio);
    });
  }

  _marks({ context, width, height, ratio, at, head }, { deck, colours }) {
    const cue = at(deck.cue || 0);
    if (cue > -head && cue < width + head) {
      context.fillStyle = css(colours.cue, 0.9);
      context.fillRect(cue, 0, Math.max(1, Math.round(1.5 * ratio)), height);
      triangle(context, cue, height, 6 * ratio, -1);
    }
    for (const [number, seconds] of Object.entries(deck.cues || {})) {
      const x = at(seconds);
      if (x < -head || x > width) continue;
      flag(context, { x, ratio, height, head, number, colour: CUES[(number - 1) % 8] });
    }
  }

  _playhead({ context, width, height, ratio }, { colours }) {
    const x = Math.round(width / 2);
    const thick = Math.max(2, Math.round(2 * ratio));
    context.fillStyle = css(colours.ground, 0.55);
    context.fillRect(x - thick, 0, 3 * thick, height);
    context.fillStyle = css(colours.playhead);
    context.fillRect(x, 0, thick, height);
    triangle(context, x + thick / 2, 0, 6 * ratio, 1);
    triangle(context, x + thick / 2, height, 6 * ratio, -1);
  }
}

/** Time marks at a regular interval, for tracks without a beat grid. */
export function ticks(from, to, least) {
  const step = [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600].find((one) => one >= least) || 3600;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at < to && found.length < 500; at += step) {
    found.push({ seconds: at, strong: false, label: clock(at) });
  }
  return found;
}

/** Seconds as h:mm:ss or m:ss. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** The numbered flag of a hot cue, on a vertical line over the full height. */
export function flag(context, { x, ratio, height, head, number, colour }) {
  const size = Math.max(head, 11 * ratio);
  context.fillStyle = css(colour, 0.85);
  context.fillRect(x, 0, Math.max(1, Math.round(1.25 * ratio)), height);
  context.fillStyle = css(colour);
  context.fillRect(x, 0, size, size);
  context.fillStyle = "#000";
  context.font = `700 ${Math.round(size * 0.78)}px sans-serif`;
  context.textBaseline = "middle";
  context.textAlign = "center";
  context.fillText(String(number), x + size / 2, size / 2 + 0.5 * ratio);
  context.textAlign = "start";
}

function triangle(context, x, y, size, down) {
  context.beginPath();
  context.moveTo(x - size * 0.8, y);
  context.lineTo(x + size * 0.8, y);
  context.lineTo(x, y + down * size);
  context.fill();
}
