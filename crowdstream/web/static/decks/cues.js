// Hot cues, and the modes of the deck: keylock, slip, reverse, brake, quantize.

import { h, select, setAttribute } from "../controls/dom.js";
import { button, toggle } from "../controls/button.js";
import { timeText } from "../controls/values.js";
import { say } from "../controls/say.js";

const COUNT = 8;
const HOLD_MS = 700; // a long press forgets a cue
const QUANTA = [[0, "Q off"], [0.25, "Q 1/4"], [0.5, "Q 1/2"], [1, "Q beat"], [4, "Q 4"], [8, "Q 8"],
  [16, "Q 16"], [32, "Q 32"]];

export function cuesAndModes(deck) {
  const pads = Array.from({ length: COUNT }, (_, at) => pad(deck, at + 1));
  const keylock = toggle("KEY", deck.name("keylock"), (on) => deck.order("/keylock", on ? 1 : 0), {
    "data-action": "keylock", title: "Keylock: the pitch stays when the tempo changes",
  });
  const slip = toggle("SLIP", deck.name("slip"), (on) => deck.order("/slip", on ? 1 : 0), {
    "data-action": "slip", title: "Slip: the track runs on underneath loops, jumps and reverse",
  });
  const reverse = toggle(
    "icon:reverse", deck.name("reverse"), (on) => deck.order("/reverse", on ? 1 : 0),
    { "data-action": "reverse" });
  const brake = button("icon:brake", deck.name("brake to a stop"), () => deck.order("/brake", 1), {
    "data-action": "brake",
  });
  const quantize = select(
    deck.name("quantize"), QUANTA, (beats) => deck.order("/quantize", Number(beats)),
    { class: "quantize", title: "Quantize: what is ordered waits for the next such beat" });
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
  let forgot = false;
  const element = button(String(number), deck.name(`hot cue ${number}`), () => {
    if (forgot) forgot = false;
    else useHotCue(deck, number);
  }, { class: "pad", "data-action": `hotcue-${number}` });
  function forget() {
    if (!isSet(deck, number)) return;
    forgot = true;
    deck.order("/hotcue/clear", number);
    say(`Hot cue ${number} of deck ${deck.letter} is forgotten`);
  }
  element.addEventListener("pointerdown", () => {
    forgot = false;
    held = setTimeout(forget, HOLD_MS);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    element.addEventListener(name, () => clearTimeout(held));
  }
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    forget();
    forgot = false;
  });
  deck.on((state) => {
    const at = state.cues ? state.cues[number] : undefined;
    element.classList.toggle("set", at !== undefined);
    const text = at === undefined ? "not set: sets it here" : `at ${timeText(at)}`;
    setAttribute(element, "aria-label", deck.name(`hot cue ${number}, ${text}`));
    setAttribute(element, "title", at === undefined
      ? `Set hot cue ${number} here` : `Hot cue ${number} at ${timeText(at)}; hold to forget it`);
    element.disabled = state.state === "empty" || state.state === "loading";
  });
  return element;
}

function isSet(deck, number) {
  const { cues } = deck.state;
  return Boolean(cues) && cues[number] !== undefined;
}

/** Jump to a hot cue, or set it where the playhead is. */
export function useHotCue(deck, number) {
  deck.order(isSet(deck, number) ? "/hotcue" : "/hotcue/set", number);
}
