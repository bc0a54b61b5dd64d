// The load lock: a button that would stop music acts when it is held, not when it is clicked.
//
// Held is the same with a mouse, a finger and a key. Assistive technology that can only click
// (a click without pointer or key) clicks twice.

import { setAttribute } from "./dom.js";
import { icon } from "./icons.js";
import { say } from "./say.js";

export const HOLD_MS = 800;
const TICK_MS = 50;
const MAX_TICK_MS = 100; // that one tick may count: a page that was busy does not turn a click into a hold
const CONFIRM_MS = 5000; // within which a second click without a pointer counts

/** Time that something has been held. `show(share)`: 0 to 1; null when it is over. */
export class Hold {
  constructor(show = () => {}) {
    this._show = show;
    this._timer = 0;
  }

  /** Whether something is being held. */
  get on() {
    return this._timer !== 0;
  }

  /** Begin; `done()` is called once it has been held for HOLD_MS. */
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

  /** End it; whether it was under way. */
  cancel() {
    const was = this.on;
    clearInterval(this._timer);
    this._timer = 0;
    if (was) this._show(null);
    return was;
  }
}

/** Lock a button while it would stop something.
 *
 * `label()`: what it does, as its name; `stops()`: what that would stop ("deck A: Night"), empty
 * for nothing; `act()`: do it. Returns {refresh, press, release}: draw it as things are now, and
 * press it from elsewhere.
 */
export function guard(element, { label, stops, act }) {
  let acted = false; // this press has: the click that comes with its end does nothing
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
    if (what) say(`${label()} stops ${what}: hold it to do that`);
  }
  function refresh() {
    const what = stops();
    const text = what ? `${label()}: stops ${what}. Hold to do it` : label();
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
    if (hold.on || acted) event.preventDefault(); // a finger that holds
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    // Held or not, a key acts once.
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
    else if (event.detail > 0) return; // of a pointer, which has been told
    else if (event.timeStamp - armed < CONFIRM_MS) {
      armed = -Infinity;
      act();
    } else {
      armed = event.timeStamp;
      say(`${label()} stops ${stops()}: once more within ${CONFIRM_MS / 1000} seconds does it`);
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
