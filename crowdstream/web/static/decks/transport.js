// Play, cue and sync.
//
// Pause is a brake of almost no length: the deck stays where it is, and so does its cue point. Cue
// returns to the cue point; when stopped, it plays from there while held.

import { h, setAttribute } from "../controls/dom.js";
import { button, toggle } from "../controls/button.js";
import { setIcon } from "../controls/icons.js";
import { runs } from "./playing.js";

const PAUSE_SECONDS = 0.03; // short, but long enough to avoid a click

export function transport(deck) {
  let previewing = false;
  const play = button("icon:play", deck.name("play"), () => playOrPause(deck), {
    class: "play", "data-action": "play",
  });
  const cue = button("icon:cue", deck.name("cue"), () => {}, {
    class: "cue", "data-action": "cue",
    title: "Cue: return to the cue point; when stopped, hold to preview",
  });
  const sync = toggle("SYNC", deck.name("sync"), (on) => deck.order("/sync", on ? 1 : 0), {
    class: "sync", "data-action": "sync",
  });

  function press() {
    if (sounds(deck)) {
      deck.order("/stop");
    } else {
      previewing = true;
      deck.order("/play");
    }
  }
  function release() {
    if (previewing) deck.order("/stop");
    previewing = false;
  }
  cue.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    cue.setPointerCapture(event.pointerId);
    press();
  });
  cue.addEventListener("pointerup", release);
  cue.addEventListener("pointercancel", release);
  cue.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && !event.repeat) press();
  });
  cue.addEventListener("keyup", release);
  cue.addEventListener("blur", release);

  function draw() {
    const { state } = deck.state;
    const moving = moves(deck);
    const loaded = state === "ready" || state === "playing" || state === "broken";
    setIcon(play, moving ? "pause" : "play");
    const label = deck.name(moving ? "pause" : "play");
    setAttribute(play, "aria-label", label);
    setAttribute(play, "title", label);
    play.classList.toggle("running", moving);
    play.disabled = !loaded;
    cue.disabled = !loaded;
    sync.disabled = !deck.state.bpm;
    sync.set(Boolean(deck.state.sync));
  }
  deck.on(draw);
  deck.press = press;
  deck.release = release;
  return h(
    "div", { class: "deck-transport", role: "group", "aria-label": deck.name("transport") },
    cue, play, sync,
  );
}

/** Whether the deck plays, and is not braking to a stop. */
export function moves(deck) {
  return runs(deck.state);
}

/** Start, resume or pause. */
export function playOrPause(deck) {
  const { state } = deck.state;
  if (moves(deck)) return deck.order("/brake", PAUSE_SECONDS, 0);
  if (sounds(deck)) return deck.order("/softstart", PAUSE_SECONDS);
  if (state === "ready" || state === "broken") return deck.order("/play");
  return null;
}

function sounds(deck) {
  return deck.state.voice >= 0;
}
