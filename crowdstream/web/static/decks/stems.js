// The stems of a deck's track: gain, mute and solo of each; EQ and filter can be unfolded.

import { h } from "../controls/dom.js";
import { button, toggle } from "../controls/button.js";
import { faderControl, knob } from "../controls/knob.js";
import { dbText, decibelKnob, fader, linear, signed } from "../controls/values.js";
import { argument } from "../table.js";

export function stems(deck) {
  const list = h("div", { class: "stems", role: "list", "aria-label": deck.name("stems") });
  const empty = h("p", { class: "hint" },
    button("Open the library", deck.name("open the library"), () =>
      deck.live.events.dispatchEvent(new CustomEvent("open", { detail: "library" })), {
      "data-action": "open-library",
    }), " and drag a track here.");
  let shown = "";
  let rows = [];
  deck.on((state) => {
    const names = JSON.stringify((state.stems || []).map((stem) => stem.name));
    if (names !== shown) {
      shown = names;
      rows = (state.stems || []).map((stem, at) => row(deck, stem.name, at + 1));
      list.replaceChildren(...rows.map((one) => one.element));
      list.classList.toggle("many", rows.length > 4);
    }
    empty.hidden = rows.length > 0;
    const solo = (state.stems || []).some((stem) => stem.solo);
    (state.stems || []).forEach((stem, at) => rows[at].set(stem, solo));
  });
  return h("div", { class: "stems-pane" }, empty, list);
}

function row(deck, stem, number) {
  const base = `/stem/${number}`;
  const name = (text) => deck.name(`${stem} ${text}`);
  const gain = faderControl({
    label: name("gain"), axis: "x", initial: 1, text: dbText,
    law: fader(argument("/deck/{deck}/stem/1", "gain").high),
    send: (value) => deck.order(base, value),
  });
  const mute = toggle("M", name("mute"), (on) => deck.order(`${base}/mute`, on ? 1 : 0), {
    class: "mute", "data-action": `mute-${number}`,
  });
  const solo = toggle("S", name("solo"), (on) => deck.order(`${base}/solo`, on ? 1 : 0), {
    class: "solo", "data-action": `solo-${number}`,
  });
  const fold = h("div", { class: "stem-fold" });
  fold.hidden = true;
  let inside = null;
  let latest = null;
  const open = button("icon:down", name("EQ and filter"), () => {
    if (!inside) {
      inside = details(deck, base, name);
      fold.append(...inside.cells);
      if (latest) inside.set(latest);
    }
    fold.hidden = !fold.hidden;
    open.setAttribute("aria-expanded", fold.hidden ? "false" : "true");
    element.classList.toggle("open", !fold.hidden);
  }, { class: "quiet", "aria-expanded": "false", "data-action": `stem-more-${number}` });
  const element = h(
    "div",
    { class: "stem", role: "listitem", "data-stem": number },
    h("span", { class: "stem-name", title: stem }, stem),
    gain.root, mute, solo, open, fold,
  );
  function set(state, soloed) {
    latest = state;
    gain.set(state.gain);
    mute.set(Boolean(state.mute));
    solo.set(Boolean(state.solo));
    element.classList.toggle("silent", Boolean(state.mute) || (soloed && !state.solo));
    if (inside) inside.set(state);
  }
  return { element, set };
}

function details(deck, base, name) {
  const { low, high } = argument("/deck/{deck}/eq", "low");
  const bands = ["low", "mid", "high"].map((band) =>
    knob({
      label: name(`EQ ${band}`), name: band.toUpperCase(), initial: 1, middle: 0.5,
      law: decibelKnob(low, high), text: dbText, class: "small",
      send: (value) => deck.order(`${base}/eq/${band}`, value),
    }));
  const filter = knob({
    label: name("filter"), name: "FILTER", initial: 0, middle: 0.5, law: linear(-1, 1),
    text: filterText, class: "small", send: (value) => deck.order(`${base}/filter`, value),
  });
  function set(state) {
    (state.eq || []).forEach((gain, at) => bands[at].set(gain));
    if (state.filter !== undefined) filter.set(state.filter);
  }
  return { cells: [...bands, filter].map((one) => one.root), set };
}

/** The text of a filter knob's position. */
export function filterText(value) {
  if (value === 0) return "off";
  return `${value < 0 ? "low-pass" : "high-pass"} ${signed(value * 100, 0)} %`;
}
