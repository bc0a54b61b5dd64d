// The mixer: channel strips, master and crossfader.

import { h, select, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { faderControl, knob } from "../controls/knob.js";
import { meter } from "../controls/meter.js";
import { dbText, decibels, fader, linear, signed } from "../controls/values.js";
import { argument } from "../table.js";

const REDUCTION = 12; // dB of gain reduction at the end of the limiter's bar
const FLOOR = -60;

/** The mixer's element; `strips`: the container of the decks' channel strips. */
export function makeMixer(live) {
  const strips = h("div", { class: "strips" });
  const element = h(
    "section", { class: "mixer", "aria-labelledby": "mixer-title" },
    h("h2", { id: "mixer-title", class: "sr" }, "Mixer"),
    h("div", { class: "mixer-top" }, strips, master(live)),
    crossfader(live),
  );
  return { element, strips };
}

function master(live) {
  const gain = argument("/mix/level", "gain");
  const level = faderControl({
    label: "Master level", class: "level", initial: 1, law: fader(gain.high), text: dbText,
    send: (value) => live.order("/mix/level", value),
  });
  const cue = knob({
    label: "Cue bus level", name: "CUE", initial: 1, law: fader(argument("/mix/cue/level", "gain").high),
    text: dbText, send: (value) => live.order("/mix/cue/level", value),
  });
  const ceiling = argument("/mix/ceiling", "decibels");
  const limit = knob({
    label: "Limiter ceiling", name: "CEIL", initial: -1, step: 0.1,
    law: linear(ceiling.low, ceiling.high), text: (value) => `${signed(value)} dBTP`,
    send: (value) => live.order("/mix/ceiling", value),
  });
  const bars = meter("Master meter", 1);
  const cueBar = meter("Cue meter", 1, { class: "meter thin" });
  const reduction = h("i");
  const limiter = h("div", { class: "limiter", title: "Limiter gain reduction" }, reduction);
  const peak = h("span", { class: "reading" });
  const loudness = h("span", { class: "reading" });
  const taken = h("span", { class: "reading" });
  live.on("mixer", (mixer) => {
    level.set(mixer.master_level);
    cue.set(mixer.cue_level);
    limit.set(Math.round(200 * Math.log10(mixer.ceiling)) / 10);
  });
  live.onNow((now) => {
    const [top, rms, lufs] = now.meters.master || [FLOOR, FLOOR, FLOOR];
    const [cueTop, cueRms] = now.meters.cue || [FLOOR, FLOOR];
    bars.set([top], [rms]);
    cueBar.set([cueTop], [cueRms]);
    const down = Math.max(0, -decibels(now.limit || 1));
    reduction.style.setProperty("--level", Math.min(1, down / REDUCTION).toFixed(3));
    setText(peak, top > FLOOR ? signed(top) : "−∞");
    setText(loudness, lufs > FLOOR ? signed(lufs) : "−∞");
    setText(taken, down > 0.05 ? signed(-down) : "0.0");
  });
  return h(
    "section", { class: "master", "aria-label": "Master" },
    h("h3", { class: "strip-name", "aria-hidden": "true" }, "M"),
    h("dl", { class: "readings" },
      h("dt", {}, "Peak"), h("dd", {}, peak),
      h("dt", {}, "LUFS"), h("dd", {}, loudness),
      h("dt", {}, "Limit"), h("dd", {}, taken)),
    h("div", { class: "master-knobs" }, limit.root, cue.root),
    h("div", { class: "strip-level" }, level.root, bars.root, limiter, cueBar.root),
  );
}

function crossfader(live) {
  const { choices } = argument("/mix/crossfader/curve", "name");
  const control = faderControl({
    label: "Crossfader", axis: "x", class: "crossfader", initial: 0.5, law: linear(0, 1), step: 0.02,
    text: (value) => (value === 0.5 ? "centre" : `${Math.round(value * 100)} % right`),
    send: (value) => live.order("/mix/crossfader", value),
  });
  const curve = select("Crossfader curve", choices.map((word) => [word, CURVES[word] || word]),
    (word) => live.order("/mix/crossfader/curve", word), { class: "curve" });
  const sides = ["left", "right"].map(() => h("span", { class: "side-decks", "aria-hidden": "true" }));
  const end = (way, face) => {
    return button(face, `Crossfader fully ${way}`, () =>
      live.order("/mix/crossfader", way === "left" ? 0 : 1, 0.05), { class: "quiet xf-end" });
  };
  live.on("mixer", (mixer) => {
    control.set(mixer.crossfader);
    if (document.activeElement !== curve) curve.value = mixer.curve;
  });
  for (const letter of "ABCD") live.on(`deck.${letter}`, name);
  function name() {
    ["left", "right"].forEach((side, at) => {
      const on = [..."ABCD"].filter((letter) => (live.get(`deck.${letter}`) || {}).crossfader === side);
      setText(sides[at], on.join(" "));
    });
  }
  return h(
    "div", { class: "crossfader-row" },
    end("left", "icon:left"), sides[0], control.root, sides[1], end("right", "icon:right"), curve,
  );
}

const CURVES = { additive: "Additive", "constant-power": "Power", cut: "Cut" };
