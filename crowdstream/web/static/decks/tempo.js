// Tempo fader and pitch knob.

import { h, select, setText } from "../controls/dom.js";
import { faderControl, knob } from "../controls/knob.js";
import { linear, signed } from "../controls/values.js";
import { argument } from "../table.js";

const RANGES = [[0.08, "±8"], [0.16, "±16"], [0.5, "±50"]];
const SEMITONE = 1;

export function tempo(deck) {
  const readout = h("span", { class: "tempo-readout" });
  const rate = faderControl({
    label: deck.name("tempo"), class: "tempo-fader", initial: 1, law: law(0.08), step: 0.0005,
    text: (value) => `${signed((value - 1) * 100, 2)} %`,
    send: (value) => deck.order("/rate", value),
    show: (_place, value) => setText(readout, `${signed((value - 1) * 100, 2)}`),
  });
  const range = select(deck.name("tempo range in percent"), RANGES, (value) => {
    rate.relaw(law(Number(value)));
  }, { class: "tempo-range" });
  const { low, high, unit } = argument("/deck/{deck}/pitch", "semitones");
  const pitch = knob({
    label: deck.name("pitch"), name: "PITCH", initial: 0, middle: 0.5, step: SEMITONE,
    law: linear(low, high, true), class: "small",
    text: (value) => `${signed(value, Number.isInteger(value) ? 0 : 2)} ${unit === "semitones" ? "st" : unit}`,
    send: (value) => deck.order("/pitch", value),
  });
  deck.on((state) => {
    if (state.rate !== undefined) {
      const off = Math.abs(state.rate - 1);
      const fits = RANGES.find(([most]) => most >= off - 1e-9) || RANGES[RANGES.length - 1];
      if (Number(range.value) < off - 1e-9 && range.value !== String(fits[0])) {
        range.value = String(fits[0]);
        rate.relaw(law(fits[0]));
      }
      rate.set(state.rate);
    }
    if (state.pitch !== undefined) pitch.set(state.pitch);
    rate.root.classList.toggle("follows", Boolean(state.sync));
  });
  return h(
    "div", { class: "deck-tempo", role: "group", "aria-label": deck.name("tempo and pitch") },
    h("span", { class: "tempo-head" }, readout), rate.root, range, pitch.root,
  );

  // The upper end of the fader is faster.
  function law(most) {
    return linear(1 - most, 1 + most);
  }
}
