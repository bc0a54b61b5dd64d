// The deck's header: track, tempo, key, time and beat.

import { h, setAttribute, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { guard } from "../controls/guard.js";
import { timeText } from "../controls/values.js";
import { beatAt } from "./grid.js";
import { stopsDeck } from "./playing.js";

const WORDS = {
  empty: "No track", loading: "Loading …", failed: "Could not be loaded",
  broken: "Damaged file: plays the readable part",
};
const BEATS = 4; // lamps
const ENDING = 30; // s before the end, from which the remaining time is highlighted

export function head(deck, id) {
  const live = deck.live;
  const title = h("span", { class: "track-title" });
  const artist = h("span", { class: "track-artist" });
  const key = h("span", { class: "track-key", title: "Key" });
  const bpm = h("span", { class: "track-bpm" });
  const base = h("span", { class: "track-base" });
  const elapsed = h("span", { class: "time-elapsed" });
  const remaining = h("span", { class: "time-remaining" });
  const lamps = Array.from({ length: BEATS }, () => h("i"));
  const beats = h("span", { class: "beat-lamps", "aria-hidden": "true" }, ...lamps);
  const phase = h("i");
  const phaseBar = h(
    "span", { class: "phase", title: "Beat offset from the clock" }, phase);
  const unload = button("icon:eject", deck.name("unload"), null, {
    class: "quiet", "data-action": "unload",
  });
  const unloadGuard = guard(unload, {
    label: () => deck.name("unload"),
    stops: () => stopsDeck(live, deck.letter),
    act: () => deck.order("/unload"),
  });
  const element = h(
    "header",
    { class: "deck-head" },
    h("h2", { id, class: "deck-letter" },
      h("span", { class: "sr" }, "Deck "), deck.letter),
    h("div", { class: "track" }, title, artist),
    h("div", { class: "deck-beat" }, beats, phaseBar),
    h("div", { class: "deck-tempo-now" }, bpm, h("span", { class: "under" }, key, base)),
    h("div", { class: "deck-times" }, remaining, elapsed),
    unload,
  );

  deck.on((state) => {
    const known = state.title || state.track;
    setText(title, known || WORDS[state.state] || "");
    setText(artist, known ? [
      state.incoming ? `Loading ${state.incoming.track} …` : state.artist,
      WORDS[state.state], state.reason, state.warning,
    ].filter(Boolean).join(" · ") : "");
    setAttribute(title, "title", state.track || null);
    setAttribute(artist, "title", state.reason || state.warning || null);
    setText(key, state.key || "");
    unload.disabled = state.state === "empty";
    unloadGuard.refresh();
  });

  live.onNow(() => {
    const state = deck.state;
    const rate = live.hello.rate;
    if (state.state === "empty" || !state.frames) {
      for (const text of [bpm, base, elapsed, remaining]) setText(text, "");
      show(lamps, -1);
      phaseBar.classList.remove("on");
      return;
    }
    const heard = live.playhead(deck.index);
    const at = heard.frame / rate;
    const length = state.frames / rate;
    setText(elapsed, timeText(at, true));
    setText(remaining, `−${timeText(Math.max(0, length - at), true)}`);
    remaining.classList.toggle("ending", heard.playing && length - at < ENDING);
    const speed = Math.abs(heard.playing ? heard.speed : state.rate || 1);
    setText(bpm, state.bpm ? (state.bpm * (speed || state.rate || 1)).toFixed(2) : "–");
    setText(base, state.bpm ? `of ${Number(state.bpm.toFixed(2))}` : "no grid");
    const doubtful = Boolean(state.grid && state.grid.uncertain);
    bpm.classList.toggle("uncertain", doubtful);
    setAttribute(bpm, "title", doubtful
      ? `Uncertain beat grid${state.grid.doubt ? `: ${state.grid.doubt}` : ""}` : null);
    const beat = beatAt(state.grid, at);
    show(lamps, beat === null ? -1 : ((Math.floor(beat) % BEATS) + BEATS) % BEATS);
    showPhase(beat, heard.playing);
  });

  function showPhase(beat, playing) {
    phaseBar.classList.toggle("on", beat !== null && playing);
    if (beat === null || !playing) return;
    const off = beat - live.beat();
    const phaseOff = off - Math.round(off); // -0.5 to 0.5 beats
    phase.style.setProperty("--off", phaseOff.toFixed(3));
    phaseBar.classList.toggle("met", Math.abs(phaseOff) < 0.03);
  }
  return element;
}

function show(lamps, lit) {
  lamps.forEach((lamp, at) => lamp.classList.toggle("lit", at === lit));
}
