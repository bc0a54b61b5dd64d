// The clock: tempo, beat, tap tempo, tempo ramps, and quantize for all decks.

import { h, select, setAttribute, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { beatAt } from "../decks/grid.js";
import { Leader } from "../decks/playing.js";
import { argument } from "../table.js";

const TAP_MS = 2500; // a longer pause starts a new series of taps
const MAX_TAPS = 16;
const RAMPS = [[0, "now"], [4, "in 4 beats"], [16, "in 16 beats"], [32, "in 32 beats"], [64, "in 64 beats"]];
const SAME = 0.05; // BPM: a deck closer to the clock's tempo counts as running with it
const QUANTA = [[0, "Q off"], [1, "Q beat"], [4, "Q 4"], [8, "Q 8"], [16, "Q 16"], [32, "Q 32"]];

export function makeClock(live) {
  const bpm = h("span", { class: "clock-bpm" });
  const target = h("span", { class: "clock-target" });
  const shown = h("span", { class: "clock-now" }, bpm, target);
  const place = h("span", { class: "clock-place", title: "Bar and beat" });
  const lamps = h("span", { class: "beat-lamps", "aria-hidden": "true" });
  const { low, high } = argument("/clock/tempo", "bpm");
  const wanted = h("input", {
    type: "number", min: low, max: high, step: "0.1", "aria-label": "Target tempo in BPM",
    class: "clock-input", inputmode: "decimal",
  });
  const beats = select("Duration of the tempo change", RAMPS, () => {});
  const tap = button("TAP", "Tap tempo", () => tapped(), { class: "tap", "data-action": "tap" });
  const go = h(
    "form", { class: "clock-form" }, wanted, beats,
    h("button", { type: "submit", class: "button" }, "Set"),
  );
  go.addEventListener("submit", (event) => {
    event.preventDefault();
    const value = Number(wanted.value);
    if (value >= low && value <= high) live.order("/clock/tempo", value, Number(beats.value));
  });
  const quantize = select("Quantize for all decks", QUANTA,
    (value) => live.order("/clock/quantize", Number(value)),
    { title: "Quantize for decks without their own setting" });
  let taps = [];
  function tapped() {
    const now = performance.now();
    if (taps.length && now - taps[taps.length - 1] > TAP_MS) taps = [];
    taps = [...taps, now].slice(-MAX_TAPS);
    if (taps.length < 3) return;
    const mean = (taps[taps.length - 1] - taps[0]) / (taps.length - 1);
    const tempo = Math.round(600000 / mean) / 10;
    if (tempo >= low && tempo <= high) live.order("/clock/tempo", tempo);
  }
  let meter = 4;
  live.on("clock", (clock) => {
    meter = clock.meter || 4;
    if (lamps.children.length !== Math.min(meter, 8)) {
      lamps.replaceChildren(...Array.from({ length: Math.min(meter, 8) }, () => h("i")));
    }
    if (document.activeElement !== wanted) wanted.value = Number(clock.target.toFixed(2));
    if (document.activeElement !== quantize) quantize.value = String(clock.quantize || 0);
  });
  // The leading deck may have its own tempo; the header then shows that tempo and the deck.
  const leader = new Leader(live);
  function leading() {
    const letter = leader.find();
    if (!letter) return null;
    const state = live.get(`deck.${letter}`);
    const { frame, speed, playing } = live.playhead("ABCD".indexOf(letter));
    if (!playing || state.sync) return { tempo: null };
    return { letter, tempo: state.bpm * Math.abs(speed), beat: beatAt(state.grid, frame / live.hello.rate) };
  }
  live.onNow((now) => {
    const clock = live.get("clock") || {};
    const found = leading();
    const own = found && found.tempo !== null && Math.abs(found.tempo - now.bpm) > SAME ? found : null;
    const beat = Math.floor((own && own.beat !== null ? own.beat : live.beat()) + 1e-6);
    const inBar = ((beat % meter) + meter) % meter;
    setText(bpm, (own ? own.tempo : now.bpm).toFixed(1));
    const moving = Math.abs((clock.target || now.bpm) - now.bpm) > 0.05;
    const unknown = !own && !found && leader.find(false);
    const name = own ? `deck ${own.letter}` : unknown ? "clock" : "BPM";
    setText(target, moving ? `→ ${clock.target.toFixed(1)}` : name);
    setAttribute(shown, "title", own
      ? `Deck ${own.letter} plays at ${own.tempo.toFixed(1)} BPM; the clock runs at ${now.bpm.toFixed(1)}`
      : `The clock runs at ${now.bpm.toFixed(1)} BPM`);
    setText(place, `${Math.floor(beat / meter) + 1}.${inBar + 1}`);
    [...lamps.children].forEach((lamp, at) => lamp.classList.toggle("lit", at === inBar));
  });
  const details = h(
    "details", { class: "clock-more" },
    h("summary", { class: "button", "aria-label": "Set the tempo" }, "Tempo"),
    h("div", { class: "popover" }, go, quantize),
  );
  details.addEventListener("toggle", async () => (await import("../ableton/link.js")).addLink(live, details.lastChild), { once: true });
  return h(
    "section", { class: "clock", "aria-label": "Clock" },
    shown, lamps, place, tap, details,
  );
}
