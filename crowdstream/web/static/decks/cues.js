// Hot cues and deck modes: key lock, slip, reverse, brake, quantize.

import { h, select, setAttribute } from "../controls/dom.js";
import { button, toggle } from "../controls/button.js";
import { timeText } from "../controls/values.js";
import { announce } from "../controls/announce.js";

const COUNT = 8;
const HOLD_MS = 700; // a long press clears a hot cue
const QUANTA = [[0, "Q off"], [0.25, "Q 1/4"], [0.5, "Q 1/2"], [1, "Q beat"], [4, "Q 4"], [8, "Q 8"],
  [16, "Q 16"], [32, "Q 32"]];

export function cuesAndModes(deck) {
  const pads = Array.from({ length: COUNT }, (_, at) => pad(deck, at + 1));
  const keylock = toggle("KEY", deck.name("key lock"), (on) => deck.order("/keylock", on ? 1 : 0), {
    "data-action": "keylock", title: "Key lock: keep the pitch when the tempo changes",
  });
  const slip = toggle("SLIP", deck.name("slip"), (on) => deck.order("/slip", on ? 1 : 0), {
    "data-action": "slip", title: "Slip: the track continues in the background during loops, jumps and reverse",
  });
  const reverse = toggle(
    "icon:reverse", deck.name("reverse"), (on) => deck.order("/reverse", on ? 1 : 0),
    { "data-action": "reverse" });
  const brake = button("icon:brake", deck.name("brake to a stop"), () => deck.order("/brake", 1), {
    "data-action": "brake",
  });
  const quantize = select(
    deck.name("quantize"), QUANTA, (beats) => deck.order("/quantize", Number(beats)),
    { class: "quantize", title: "Quantize: actions wait for the next multiple of this many beats" });
  deck.on((state) => {
    keylock.set(Boolean(state.keylock));
    slip.set(Boolean(state.slip));
    reverse.set(Boolean(state.reverse));
    const idle = state.state !== "playing" && state.state !== "broken";
    for (const one of [slip, reverse, brake]) one.disabled = idle;
    if (document.activeElement !== quantize) quantize.value = String(state.quantize || 0);
  });
  return {
    pads: h("div", { class: "pads", role: "group", "aria-label": deck.name("hot cues") }, ...pads),
    modes: h("div", { class: "modes", role: "group", "aria-label": deck.name("modes") },
      keylock, slip, reverse, brake, quantize),
  };
}

function pad(deck, number) {
  let held = 0;
  let cleared = false;
  const element = button(String(number), deck.name(`hot cue ${number}`), () => {
    if (cleared) cleared = false;
    else useHotCue(deck, number);
  }, { class: "pad", "data-action": `hotcue-${number}` });
  function clear() {
    if (!isSet(deck, number)) return;
    cleared = true;
    deck.order("/hotcue/clear", number);
    announce(`Hot cue ${number} of deck ${deck.letter} cleared`);
  }
  element.addEventListener("pointerdown", () => {
    cleared = false;
    held = setTimeout(clear, HOLD_MS);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    element.addEventListener(name, () => clearTimeout(held));
  }
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    clear();
    cleared = false;
  });
  deck.on((state) => {
    const at = state.cues ? state.cues[number] : undefined;
    element.classList.toggle("set", at !== undefined);
    const text = at === undefined ? "empty: click to set it" : `at ${timeText(at)}`;
    setAttribute(element, "aria-label", deck.name(`hot cue ${number}, ${text}`));
    setAttribute(element, "title", at === undefined
      ? `Set hot cue ${number}` : `Hot cue ${number} at ${timeText(at)}; hold to clear it`);
    element.disabled = state.state === "empty" || state.state === "loading";
  });
  return element;
}

function isSet(deck, number) {
  const { cues } = deck.state;
  return Boolean(cues) && cues[number] !== undefined;
}

/** Jump to a hot cue; if it is not set, set it at the playhead. */
export function useHotCue(deck, number) {
  deck.order(isSet(deck, number) ? "/hotcue" : "/hotcue/set", number);
}
