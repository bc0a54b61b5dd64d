// The load lock: a button that would stop a playing deck must be held, not clicked.
//
// Holding works with a mouse, a finger and a key. Assistive technology that can only click (a click
// without a pointer or key) clicks twice.

import { setAttribute } from "./dom.js";
import { icon } from "./icons.js";
import { announce } from "./announce.js";

export const HOLD_MS = 800;
const TICK_MS = 50;
const MAX_TICK_MS = 100; // counted per tick: a stalled page does not turn a click into a hold
const CONFIRM_MS = 5000; // for the second click without a pointer

/** Measures how long something is held. `show(share)`: 0 to 1; null at the end. */
export class Hold {
  constructor(show = () => {}) {
    this._show = show;
    this._timer = 0;
  }

  /** Whether something is being held. */
  get on() {
    return this._timer !== 0;
  }

  /** Start; `done()` is called after HOLD_MS. */
  begin(done) {
    this.cancel();
    let held = 0;
    let before = performance.now();
    this._show(0);
    this._timer = setInterval(() => {
      const now = performance.now();
      held += Math.min(MAX_TICK_MS, now - before);
      before = now;
      this._show(Math.min(1, held / HOLD_MS));
      if (held < HOLD_MS) return;
      this.cancel();
      done();
    }, TICK_MS);
  }

  /** Stop. Returns whether it was running. */
  cancel() {
    const was = this.on;
    clearInterval(this._timer);
    this._timer = 0;
    if (was) this._show(null);
    return was;
  }
}

/** Lock a button while it would stop a playing deck.
 *
 * `label()`: the action, used as the accessible name; `stops()`: the decks that it would stop
 * ("deck A: Night"), or an empty string; `act()`: the action. Returns {refresh, press, release}:
 * update the button, and press it by other means.
 */
export function guard(element, { label, stops, act }) {
  let acted = false; // during this press: the click at its end does nothing
  let armed = -Infinity;
  const hold = new Hold((share) => {
    element.classList.toggle("holding", share !== null);
    element.style.setProperty("--held", share === null ? "0" : share.toFixed(3));
  });
  const lock = icon("lock");
  lock.classList.add("lock");
  element.append(lock);

  function press() {
    acted = false;
    if (!stops()) return false;
    hold.begin(() => {
      acted = true;
      act();
    });
    refuse();
    return true;
  }
  function release() {
    if (hold.cancel()) refuse();
  }
  function refuse() {
    const what = stops();
    if (what) announce(`${label()} stops ${what}: hold the button to confirm`);
  }
  function refresh() {
    const what = stops();
    const text = what ? `${label()}: stops ${what}. Hold to confirm` : label();
    setAttribute(element, "aria-label", text);
    setAttribute(element, "title", text);
    element.classList.toggle("locked", Boolean(what));
    setAttribute(element, "data-stops", what || null);
    lock.toggleAttribute("hidden", !what);
  }

  element.addEventListener("pointerdown", (event) => {
    if (event.button === 0) press();
  });
  element.addEventListener("pointerup", release);
  for (const name of ["pointerleave", "pointercancel", "blur"]) {
    element.addEventListener(name, release);
  }
  element.addEventListener("contextmenu", (event) => {
    if (hold.on || acted) event.preventDefault(); // a long touch
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    // A key acts once, whether it is held or not.
    if (event.repeat || press()) event.preventDefault();
  });
  element.addEventListener("keyup", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    if (hold.on || acted) event.preventDefault();
    release();
    acted = false;
  });
  element.addEventListener("click", (event) => {
    if (acted) acted = false;
    else if (!stops()) act();
    else if (event.detail > 0) return; // a pointer click: its press has announced the lock
    else if (event.timeStamp - armed < CONFIRM_MS) {
      armed = -Infinity;
      act();
    } else {
      armed = event.timeStamp;
      announce(`${label()} stops ${stops()}: click again within ${CONFIRM_MS / 1000} seconds to confirm`);
    }
  });
  refresh();
  return {
    refresh, press, refuse,
    release() {
      release();
      acted = false;
    },
  };
}
