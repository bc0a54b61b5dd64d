// The behaviour of knobs and faders: pointer, wheel and keyboard. A held control keeps its value.

const FINE = 0.2; // factor while Shift is held
const STEP = 0.01; // of the full range, per arrow key
const PAGE = 0.1;
const SNAP = 0.012; // of the full range around the default, where the control snaps to it
const MAX_A_SECOND = 30; // commands
const SETTLE_MS = 200; // after the last reply, until the server's values are shown again

/** Turns `element` into a slider.
 *
 * options: label, law, text(value), initial (default value, for double click and Delete),
 * send(value) -> Promise, show(place, value), axis ("y" up, "x" right), pixels for the full range,
 * absolute (a press moves the control there), step (in values, for the arrow keys).
 */
export class Slider {
  constructor(element, options) {
    this.element = element;
    this.options = { axis: "y", pixels: 160, absolute: false, ...options };
    this.value = options.initial;
    this.dragging = false;
    this._place = 0;
    this._shown = options.initial; // the server's latest value
    this._flying = 0;
    this._settle = 0;
    this._sentAt = 0;
    this._timer = 0;
    element.setAttribute("role", "slider");
    element.setAttribute("tabindex", "0");
    element.setAttribute("aria-label", options.label);
    const vertical = this.options.axis === "y";
    element.setAttribute("aria-orientation", vertical ? "vertical" : "horizontal");
    this.relaw(options.law);
    element.addEventListener("pointerdown", (event) => this._press(event));
    element.addEventListener("keydown", (event) => this._key(event));
    element.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    element.addEventListener("dblclick", () => this.reset());
  }

  /** Use another law: another range, or another parameter. */
  relaw(law) {
    this.law = law;
    this.element.setAttribute("aria-valuemin", round(Math.min(law.low, law.high)));
    this.element.setAttribute("aria-valuemax", round(Math.max(law.low, law.high)));
    this._draw(this.value);
  }

  /** Show the server's value; deferred while the control is held or a command is pending. */
  set(value) {
    this._shown = value;
    if (this.dragging || this._flying || performance.now() < this._settle) return;
    if (value !== this.value) this._draw(value);
  }

  reset() {
    if (this.options.initial !== undefined) this._put(this.options.initial, true);
  }

  _draw(value) {
    this.value = value;
    const place = Math.max(0, Math.min(1, this.law.place(value)));
    this._place = place;
    this.element.style.setProperty("--place", place.toFixed(4));
    this.element.setAttribute("aria-valuenow", round(value));
    this.element.setAttribute("aria-valuetext", this.options.text(value));
    if (this.options.show) this.options.show(place, value);
  }

  _move(place, snap = true) {
    let to = Math.max(0, Math.min(1, place));
    const { initial } = this.options;
    const rest = initial === undefined ? NaN : this.law.place(initial);
    const near = snap && Math.abs(to - rest) < SNAP;
    if (near) to = rest;
    this._put(near ? initial : this.law.value(to), false);
    this._place = to;
  }

  _put(value, last) {
    if (this.element.getAttribute("aria-disabled") === "true") return;
    if (value === this.value && !last) return;
    this._draw(value);
    const now = performance.now();
    const due = this._sentAt + 1000 / MAX_A_SECOND;
    clearTimeout(this._timer);
    this._timer = 0;
    if (now >= due) this._send();
    else this._timer = setTimeout(() => this._send(), due - now);
  }

  _send() {
    this._timer = 0;
    this._sentAt = performance.now();
    this._flying += 1;
    Promise.resolve(this.options.send(this.value)).then(() => {
      this._flying -= 1;
      this._settle = performance.now() + SETTLE_MS;
      setTimeout(() => this.set(this._shown), SETTLE_MS + 10);
    });
  }

  _press(event) {
    if (event.button !== 0 || this.element.getAttribute("aria-disabled") === "true") return;
    const { axis, pixels, absolute } = this.options;
    const element = this.element;
    element.setPointerCapture(event.pointerId);
    element.focus({ preventScroll: true });
    this.dragging = true;
    element.classList.add("held");
    let place = this._place;
    let last = axis === "y" ? event.clientY : event.clientX;
    const way = absolute ? this._way() : pixels;
    const jump = (at) => {
      const box = element.getBoundingClientRect();
      const inside = axis === "y" ? box.bottom - at.clientY : at.clientX - box.left;
      const size = axis === "y" ? box.height : box.width;
      return (inside - (size - way) / 2) / way;
    };
    // A press beside the cap moves it there; a press on the cap does not move it.
    if (absolute && Math.abs(jump(event) - place) > 14 / way) {
      place = jump(event);
      this._move(place);
    }
    const move = (at) => {
      const here = axis === "y" ? at.clientY : at.clientX;
      const delta = (axis === "y" ? last - here : here - last) / way;
      last = here;
      place = Math.max(-0.1, Math.min(1.1, place + delta * (at.shiftKey ? FINE : 1)));
      this._move(place);
    };
    const up = () => {
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", up);
      element.removeEventListener("pointercancel", up);
      this.dragging = false;
      element.classList.remove("held");
      this._settle = performance.now() + SETTLE_MS;
      setTimeout(() => this.set(this._shown), SETTLE_MS + 10);
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", up);
    element.addEventListener("pointercancel", up);
    event.preventDefault();
  }

  // Length of the cap's travel in pixels: the element's length minus the cap.
  _way() {
    const box = this.element.getBoundingClientRect();
    return (this.options.axis === "y" ? box.height : box.width) - 22;
  }

  _wheel(event) {
    if (document.activeElement !== this.element && !event.altKey && this.options.calm) return;
    event.preventDefault();
    const turn = -Math.sign(event.deltaY || event.deltaX);
    this._nudge(turn, event.shiftKey ? FINE : 2);
  }

  _nudge(turn, size) {
    const { step } = this.options;
    if (step) this._toward(this.value + turn * step * Math.max(1, Math.round(size)));
    else this._move(this._place + turn * STEP * size, false);
  }

  _toward(value) {
    const low = Math.min(this.law.low, this.law.high);
    const high = Math.max(this.law.low, this.law.high);
    this._put(Math.max(low, Math.min(high, value)), false);
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const turns = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 };
    if (event.key in turns) this._nudge(turns[event.key], event.shiftKey ? FINE : 1);
    else if (event.key === "PageUp") this._nudge(1, PAGE / STEP);
    else if (event.key === "PageDown") this._nudge(-1, PAGE / STEP);
    else if (event.key === "Home") this._move(0, false);
    else if (event.key === "End") this._move(1, false);
    else if (event.key === "Delete" || event.key === "Backspace") this.reset();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function round(value) {
  return Number(value.toPrecision(6));
}
