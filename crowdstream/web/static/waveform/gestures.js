// Gestures on a waveform: click to seek, drag to select a loop, wheel or pinch to zoom, and keys.

import { beatAt, secondsAt, usable } from "./grid.js";

const DRAG = 6; // CSS pixels from which a click becomes a drag
const MIN_LOOP_SECONDS = 0.02; // shortest loop
const WHEEL = 0.0018; // zoom per wheel pixel
const LINE = 16; // wheel pixels per line

/** Listens on a canvas. `place(x)`: seconds at a CSS pixel; `act`: the actions. */
export class Pointers {
  constructor(canvas, place, act) {
    this._canvas = canvas;
    this._place = place;
    this._act = act;
    this._down = new Map();
    this._drag = null;
    this._pinch = 0;
    const on = (name, fn, options) => canvas.addEventListener(name, fn.bind(this), options);
    on("pointerdown", this._press);
    on("pointermove", this._move);
    on("pointerup", this._release);
    on("pointercancel", this._cancel);
    on("wheel", this._wheel, { passive: false });
  }

  /** Whether a drag is in progress. */
  get busy() {
    return this._drag !== null;
  }

  /** The track may scroll under a pointer that does not move: update the selection. */
  update() {
    if (this._drag && this._drag.far) this._select();
  }

  /** Cancel the gesture in progress. */
  cancel() {
    this._drag = null;
    this._act.select(null);
  }

  _x(event) {
    return event.clientX - this._canvas.getBoundingClientRect().left;
  }

  _press(event) {
    if (event.button !== 0) return;
    this._canvas.setPointerCapture(event.pointerId);
    this._down.set(event.pointerId, event);
    if (this._down.size > 1) {
      this.cancel();
      this._pinch = this._spread();
      return;
    }
    const x = this._x(event);
    this._drag = { id: event.pointerId, x, now: x, from: this._place(x), far: false, free: event.altKey };
  }

  _move(event) {
    if (!this._down.has(event.pointerId)) return;
    this._down.set(event.pointerId, event);
    if (this._down.size > 1) {
      const spread = this._spread();
      if (this._pinch > 0 && spread > 0) this._act.zoom(this._pinch / spread);
      this._pinch = spread;
      return;
    }
    const drag = this._drag;
    if (!drag || drag.id !== event.pointerId) return;
    drag.now = this._x(event);
    drag.free = event.altKey;
    if (Math.abs(drag.now - drag.x) > DRAG) drag.far = true;
    if (drag.far) this._select();
  }

  _select() {
    const { from, now, free } = this._drag;
    const to = this._place(now);
    this._act.select(this._act.snapped([Math.min(from, to), Math.max(from, to)], free));
  }

  _release(event) {
    this._down.delete(event.pointerId);
    const drag = this._drag;
    if (!drag || drag.id !== event.pointerId) return;
    this._drag = null;
    if (!drag.far) {
      this._act.seek(drag.from);
      return;
    }
    const to = this._place(this._x(event));
    const [begin, end] = this._act.snapped([Math.min(drag.from, to), Math.max(drag.from, to)], event.altKey);
    if (end - begin >= MIN_LOOP_SECONDS) this._act.loop(begin, end);
    else this._act.select(null);
  }

  _cancel(event) {
    this._down.delete(event.pointerId);
    this.cancel();
  }

  _spread() {
    const [one, other] = [...this._down.values()];
    return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  }

  _wheel(event) {
    const pixels = event.deltaY * (event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? 200 : 1);
    if (!pixels) return;
    event.preventDefault();
    this._act.zoom(Math.exp(Math.max(-300, Math.min(300, pixels)) * WHEEL * (event.ctrlKey ? 4 : 1)));
  }
}

/** Two positions moved to the nearest multiples of a quantum (beats). */
export function snapped([from, to], grid, quantum) {
  if (!(quantum > 0) || !usable(grid)) return [Math.max(0, from), to];
  const first = Math.round(beatAt(grid, from) / quantum) * quantum;
  const last = Math.max(first + quantum, Math.round(beatAt(grid, to) / quantum) * quantum);
  return [Math.max(0, secondsAt(grid, first)), secondsAt(grid, last)];
}

/** Handles keys on the slider; `act` as for pointers, and `jump(beats)`, `toggleLoop()`. */
export function listenForKeys(element, act, bar) {
  const keys = {
    ArrowLeft: (event) => act.jump(event.shiftKey ? -bar() : -1),
    ArrowRight: (event) => act.jump(event.shiftKey ? bar() : 1),
    ArrowDown: (event) => act.jump(event.shiftKey ? -bar() : -1),
    ArrowUp: (event) => act.jump(event.shiftKey ? bar() : 1),
    PageDown: () => act.jump(-4 * bar()),
    PageUp: () => act.jump(4 * bar()),
    Home: () => act.seek(0),
    End: () => act.seekEnd(),
    "+": () => act.zoom(1 / 1.4),
    "=": () => act.zoom(1 / 1.4),
    "-": () => act.zoom(1.4),
    Enter: () => act.toggleLoop(),
    Escape: () => act.cancel(),
  };
  element.addEventListener("keydown", (event) => {
    const key = keys[event.key];
    if (!key || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    key(event);
  });
}
