// A deck's waveform: close-up and overview with their markers and gestures.

import { CloseUp, clock } from "./closeup.js";
import { palette } from "./colours.js";
import { Pointers, listenForKeys, snapped } from "./gestures.js";
import { beatAt, secondsAt, usable } from "./grid.js";
import { Overview } from "./overview.js";
import { Peaks, identity } from "./peaks.js";

const SPAN = 8; // s: initial range of the close-up
const MIN_SPAN = 0.25; // s
const MAX_RATIO = 2; // device pixels drawn per CSS pixel
const DESCRIBE_MS = 1000; // between two updates of the position for screen readers
const PENDING_MS = 1500; // for which a selection stays visible after its loop was ordered
const LOOP_BEATS = 4;
const PHRASE_BARS = 8; // the same as in the server
const BEAT_SECONDS = 1; // length of a jump by a beat without a grid

export class Waveform {
  /** `deck`: its index, or its letter. */
  constructor(element, deck, live) {
    this.element = element;
    this.letter = typeof deck === "number" ? "ABCD"[deck] : deck;
    this.index = "ABCD".indexOf(this.letter);
    this.span = SPAN;
    /** The latest frame: `time` of performance.now(), `position` in seconds. */
    this.drawn = { time: 0, position: 0 };
    this._live = live;
    this._deck = null;
    this._selection = null;
    this._describedAt = 0;
    this._later = 0; // the timer of the next description
    this._frame = 0;
    this._dirty = true;
    this._visible = true;
    this._build();
    this.peaks = new Peaks(live, this.letter);
    this._closeup = new CloseUp(this._big, this.peaks);
    this._overview = new Overview(this._small, this.peaks);
    this._listen();
    element.waveform = this;
  }

  /** Stop drawing, and remove all listeners. */
  close() {
    cancelAnimationFrame(this._frame);
    clearTimeout(this._later);
    for (const end of this._ends) end();
    this.peaks.close();
    this.element.replaceChildren();
    delete this.element.waveform;
  }

  /** Draw with the next frame of the display. */
  redraw() {
    this._dirty = true;
    if (!this._frame) this._frame = requestAnimationFrame((time) => this._tick(time));
  }

  _build() {
    addStyle();
    this.element.classList.add("waveform");
    const make = (name) => {
      const canvas = document.createElement("canvas");
      canvas.className = `waveform-${name}`;
      return canvas;
    };
    this._big = make("closeup");
    this._small = make("overview");
    this._big.setAttribute("aria-hidden", "true");
    const slider = this._small;
    slider.tabIndex = 0;
    slider.setAttribute("role", "slider");
    slider.setAttribute("aria-label", `Deck ${this.letter}: position`);
    // A slider needs a value, and the first position arrives later.
    for (const value of ["min", "max", "now"]) slider.setAttribute(`aria-value${value}`, "0");
    slider.setAttribute("aria-valuetext", "no track");
    const help = "Arrow keys jump by a beat, with Shift by a bar; Page Up and Page Down by four bars; "
      + "plus and minus zoom; Enter toggles a loop of four beats.";
    slider.setAttribute("aria-description", help);
    this._big.title = "Click: seek. Drag: set a loop. Wheel: zoom.";
    this.element.replaceChildren(this._big, this._small);
  }

  _listen() {
    const act = {
      seek: (seconds) => this.seek(seconds),
      seekEnd: () => this.seek(this._length()),
      jump: (beats) => this._jump(beats),
      loop: (from, to) => this._loop(from, to),
      toggleLoop: () => this._toggleLoop(),
      select: (selection) => this._select(selection),
      snapped: (pair, free) => this._snapped(pair, free),
      zoom: (factor) => this.zoom(factor),
      cancel: () => this._pointers.forEach((one) => one.cancel()),
    };
    const wide = (canvas) => canvas.getBoundingClientRect().width || 1;
    const near = (x) => this.drawn.position + (x / wide(this._big) - 0.5) * this.span;
    const far = (x) => (Math.max(0, Math.min(1, x / wide(this._small))) * this._length());
    this._pointers = [new Pointers(this._big, near, act), new Pointers(this._small, far, act)];
    listenForKeys(this.element, act, () => this._meter());
    const live = this._live;
    const again = () => {
      this._colours = null;
      this._closeup.strips.clear();
      this._overview.refresh();
      this._resize();
      this.redraw();
    };
    const sizes = new ResizeObserver(() => {
      this._resize();
      this.redraw();
    });
    sizes.observe(this._big);
    sizes.observe(this._small);
    const sight = new IntersectionObserver((entries) => {
      this._visible = entries[entries.length - 1].isIntersecting;
      this.redraw();
    });
    sight.observe(this.element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", again);
    const more = () => {
      this._closeup.strips.refresh();
      this._overview.refresh();
      this.redraw();
    };
    this.peaks.addEventListener("about", more);
    this.peaks.addEventListener("tile", () => this.redraw());
    this._ends = [
      live.on(`deck.${this.letter}`, (value) => this._look(value)),
      live.onNow(() => this._wake()),
      () => sizes.disconnect(),
      () => sight.disconnect(),
      () => dark.removeEventListener("change", again),
    ];
    this._resize();
    this.redraw();
  }

  _look(deck) {
    const before = this._deck;
    this._deck = deck && deck.number ? { cues: {}, ...deck, stems: deck.stems || [] } : null;
    if (identity(before) !== identity(this._deck)) {
      this._colours = null;
      this._closeup.strips.clear();
      this._overview.refresh();
      this._selection = null;
      this.span = Math.min(this.span, Math.max(MIN_SPAN, 2 * this._length() || SPAN));
      this._describedAt = 0;
    }
    if (this._pending && deck && JSON.stringify(deck.loop) !== this._pending) this._select(null);
    this._small.setAttribute("aria-disabled", this._deck ? "false" : "true");
    this.redraw();
  }

  // After a report: redraw if the playhead is not where it was drawn.
  _wake() {
    if (this._frame || !this._visible) return;
    if (Math.abs(this._position() - this.drawn.position) > 1e-4) this.redraw();
  }

  _resize() {
    const ratio = Math.min(MAX_RATIO, devicePixelRatio || 1);
    for (const canvas of [this._big, this._small]) {
      const { width, height } = canvas.getBoundingClientRect();
      const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== wide || canvas.height !== high) {
        canvas.width = wide;
        canvas.height = high;
      }
    }
    this._ratio = ratio;
  }

  _tick(time) {
    this._frame = 0;
    if (!this._visible) return;
    const { playing } = this._live.playhead(this.index);
    if (playing && this._deck) this._frame = requestAnimationFrame((next) => this._tick(next));
    const position = this._position();
    if (!this._dirty && position === this.drawn.position) return;
    this._dirty = false;
    for (const one of this._pointers) one.update();
    if (!this._colours) this._colours = palette(this.element, this._deck ? this._deck.stems.length : 0);
    const view = {
      deck: this._deck, position, span: this.span, ratio: this._ratio, colours: this._colours,
      audible: this._audible(), selection: this._selection, ready: this.peaks.ready, meter: this._meter(),
    };
    this.drawn = { time, position };
    if (!this._closeup.draw(view)) this.redraw();
    this._overview.draw(view);
    this._describe(time, position);
  }

  // Describe the position to screen readers.
  _describe(time, position) {
    if (time < this._describedAt + DESCRIBE_MS && this._describedAt) {
      // The final position of several moves must be described, too.
      this._later ||= setTimeout(() => {
        this._later = 0;
        this.redraw();
      }, this._describedAt + DESCRIBE_MS - time);
      return;
    }
    this._describedAt = time;
    const slider = this._small;
    const length = this._length();
    slider.setAttribute("aria-valuemax", length.toFixed(1));
    slider.setAttribute("aria-valuenow", position.toFixed(1));
    const text = this._deck ? `${clock(position)} of ${clock(length)}` : "no track";
    if (slider.getAttribute("aria-valuetext") !== text) slider.setAttribute("aria-valuetext", text);
  }

  // State --------------------------------------------------------------------------------------

  _rate() {
    return (this._live.hello && this._live.hello.rate) || 44100;
  }

  _position() {
    return this._deck ? this._live.playhead(this.index).frame / this._rate() : 0;
  }

  _length() {
    return (this._deck && this._deck.length) || 0;
  }

  _meter() {
    const clocked = this._live.get("clock");
    return (clocked && clocked.meter) || 4;
  }

  _audible() {
    const stems = this._deck ? this._deck.stems : [];
    const solo = stems.some((stem) => stem.solo);
    return stems.map((stem) => !stem.mute && (!solo || Boolean(stem.solo)));
  }

  _snapped(pair, free) {
    const { quantize, grid } = this._deck || {};
    const common = this._live.get("clock");
    const asked = quantize || (common && common.quantize);
    const words = { beat: 1, bar: this._meter(), phrase: PHRASE_BARS * this._meter() };
    const quantum = words[asked] ?? (Number(asked) || 0);
    const [from, to] = snapped(pair, grid, free ? 0 : quantum);
    return [from, Math.min(to, this._length() || to)];
  }

  // Actions ------------------------------------------------------------------------------------

  /** Multiply the visible range by `factor`. */
  zoom(factor) {
    const most = Math.max(SPAN, 1.1 * this._length());
    this.span = Math.max(MIN_SPAN, Math.min(most, this.span * factor));
    this.redraw();
  }

  /** Seek to a position. */
  seek(seconds) {
    this._order("seek", Math.max(0, Math.min(this._length(), seconds)));
  }

  _jump(beats) {
    const deck = this._deck;
    if (!deck) return;
    const { position } = this.drawn;
    if (!usable(deck.grid)) this.seek(position + beats * BEAT_SECONDS);
    else if (deck.state === "playing") this._order("jump", beats);
    else this.seek(secondsAt(deck.grid, Math.round(beatAt(deck.grid, position)) + beats));
  }

  _loop(from, to) {
    this._select([from, to]);
    this._pending = JSON.stringify(this._deck && this._deck.loop);
    this._order("loop/set", from, to);
    setTimeout(() => this._pending && this._select(null), PENDING_MS);
  }

  _toggleLoop() {
    if (!this._deck) return;
    if (this._deck.loop) this._order("loop/exit");
    else this._order("loop", LOOP_BEATS);
  }

  _select(selection) {
    this._pending = "";
    this._selection = selection;
    this.redraw();
  }

  _order(name, ...values) {
    if (!this._deck) return;
    const live = this._live;
    const address = `/deck/${this.letter}/${name}`;
    if (live.order) live.order(address, ...values);
    else live.do(address, ...values).catch(() => {});
  }
}

// Load the stylesheet, for pages that do not link to it.
function addStyle() {
  const href = new URL("./waveform.css", import.meta.url).href;
  if ([...document.querySelectorAll("link[rel=stylesheet]")].some((link) => link.href === href)) return;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = href;
  document.head.append(link);
}
