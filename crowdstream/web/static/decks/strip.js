// The deck's channel strip: trim, EQ with kills, filter, sends, level, PFL.

import { h, select } from "../controls/dom.js";
import { toggle } from "../controls/button.js";
import { faderControl, knob } from "../controls/knob.js";
import { meter } from "../controls/meter.js";
import { dbText, decibelKnob, fader, linear, percentText } from "../controls/values.js";
import { argument } from "../table.js";
import { filterText } from "./stems.js";

const BANDS = ["low", "mid", "high"];

export function strip(deck) {
  const eqRange = argument("/deck/{deck}/eq", "low");
  const trimRange = argument("/deck/{deck}/trim", "decibels");
  const gainRange = argument("/deck/{deck}/level", "gain");
  const sendRange = argument("/deck/{deck}/send", "gain");
  const trim = knob({
    label: deck.name("trim"), name: "TRIM", initial: 1, middle: 0.5,
    law: decibelKnob(trimRange.low, trimRange.high), text: dbText,
    send: (value) => deck.order("/trim", 20 * Math.log10(value)),
  });
  const auto = toggle("A", deck.name("automatic trim"), (on) => deck.order("/trim/auto", on ? 1 : 0), {
    class: "kill auto", "data-action": "trim-auto",
    title: "Automatic trim: play all tracks at the same loudness",
  });
  const bands = BANDS.map((band, at) => {
    const dial = knob({
      label: deck.name(`EQ ${band}`), name: band.toUpperCase(), initial: 1, middle: 0.5,
      law: decibelKnob(eqRange.low, eqRange.high), text: dbText,
      send: (value) => deck.order(`/eq/${band}`, value),
    });
    const kill = toggle("×", deck.name(`kill ${band}`), (on) => deck.order("/kill", band, on ? 1 : 0), {
      class: "kill", "data-action": `kill-${band}`,
    });
    const cell = h("div", { class: "band" }, dial.root, kill);
    return { dial, kill, cell, at };
  });
  const filter = knob({
    label: deck.name("filter"), name: "FILTER", initial: 0, middle: 0.5, law: linear(-1, 1),
    text: filterText, class: "accent", send: (value) => deck.order("/filter", value),
  });
  const resonance = knob({
    label: deck.name("filter resonance"), name: "RES", initial: 0, law: linear(0, 1),
    text: percentText, class: "small", send: (value) => deck.order("/filter/resonance", value),
  });
  const sends = [1, 2].map((bus) =>
    knob({
      label: deck.name(`send to bus ${bus}`), name: `S${bus}`, initial: 0,
      law: fader(sendRange.high), text: dbText, class: "small",
      send: (value) => deck.order("/send", bus, value),
    }));
  const level = faderControl({
    label: deck.name("level"), class: "level", initial: 1, law: fader(gainRange.high),
    text: dbText, send: (value) => deck.order("/level", value),
  });
  const bar = meter(deck.name("meter"), 1);
  const listen = toggle("icon:headphones", deck.name("headphones (PFL)"),
    (on) => deck.order("/pfl", on ? 1 : 0), { class: "pfl", "data-action": "listen" });
  const side = select(
    deck.name("crossfader side"),
    argument("/deck/{deck}/crossfader", "side").choices.map((word) => [word, SIDES[word] || word]),
    (word) => deck.order("/crossfader", word), { class: "side" });

  deck.on((state) => {
    if (state.trim !== undefined) trim.set(state.trim);
    auto.set(Boolean(state.trim_auto));
    bands.forEach(({ dial, kill, cell, at }) => {
      const killed = Boolean(state.kill && state.kill[at]);
      if (state.eq && !killed) dial.set(state.eq[at]);
      kill.set(killed);
      cell.classList.toggle("killed", killed);
    });
    if (state.filter !== undefined) filter.set(state.filter);
    if (state.resonance !== undefined) resonance.set(state.resonance);
    (state.sends || []).slice(0, 2).forEach((gain, at) => sends[at].set(gain));
    if (state.level !== undefined) level.set(state.level);
    listen.set(Boolean(state.listen));
    if (document.activeElement !== side && state.crossfader) side.value = state.crossfader;
  });
  deck.live.onNow((now) => {
    const [peak, rms] = now.meters[deck.letter] || [];
    bar.set([peak], [rms]);
  });

  const [low, mid, high] = bands.map((band) => band.cell);
  return h(
    "section",
    { class: "strip", "data-deck": deck.letter, "aria-label": deck.name("channel") },
    h("h3", { class: "strip-name", "aria-hidden": "true" }, deck.letter),
    h("div", { class: "strip-knobs" },
      h("div", { class: "band" }, trim.root, auto), high, mid, low, filter.root,
      h("div", { class: "strip-sends" }, resonance.root, sends[0].root, sends[1].root)),
    h("div", { class: "strip-level" }, level.root, bar.root),
    listen,
    side,
  );
}

const SIDES = { left: "◀ Left", through: "Thru", right: "Right ▶" };
