// One deck: header, waveform, transport, pads, panes, and its channel strip in the mixer.

import { h, setAttribute } from "../controls/dom.js";
import { tabs } from "../controls/tabs.js";
import { chain } from "./chain.js";
import { cuesAndModes } from "./cues.js";
import { head } from "./head.js";
import { loops } from "./loops.js";
import { stems } from "./stems.js";
import { strip } from "./strip.js";
import { tempo } from "./tempo.js";
import { transport } from "./transport.js";

/** Shared by the parts of a deck: its letter, its commands and its state. */
export class DeckLink {
  constructor(live, index) {
    this.live = live;
    this.index = index;
    this.letter = "ABCD"[index];
    this.key = `deck.${this.letter}`;
  }

  /** Send a command of this deck: order("/loop", 4). */
  order(path, ...args) {
    return this.live.order(`/deck/${this.letter}${path}`, ...args);
  }

  /** The deck's state in the picture; an empty deck if it is unknown. */
  get state() {
    return this.live.get(this.key) || EMPTY;
  }

  on(fn) {
    return this.live.on(this.key, fn);
  }

  /** A label that includes the deck's name. */
  name(text) {
    return `Deck ${this.letter} ${text}`;
  }
}

const EMPTY = { state: "empty", stems: [], cues: {}, fx: [] };

/** The deck's element, its channel strip, and the container of its waveform. */
export function makeDeck(live, index) {
  const deck = new DeckLink(live, index);
  const title = `deck-${deck.letter}`;
  const waveform = h("div", { class: "waveform", "data-deck": deck.letter });
  const stemPane = h("div", { class: "pane" }, stems(deck));
  const effects = chain(live, {
    base: `/deck/${deck.letter}`, name: deck.name("effects"), key: deck.key,
    pick: (state) => state.fx || [],
  });
  const effectPane = h("div", { class: "pane" }, effects);
  const panes = tabs(deck.name("details"), [
    ["stems", "Stems", stemPane],
    ["effects", "FX", effectPane],
  ]);
  const { pads, modes } = cuesAndModes(deck);
  const element = h(
    "section",
    { class: "deck", "data-deck": deck.letter, "aria-labelledby": title, id: `section-${title}` },
    head(deck, title),
    h("div", { class: "deck-screen" }, waveform),
    transport(deck),
    loops(deck),
    pads,
    h("div", { class: "deck-panes" },
      h("div", { class: "pane-bar" }, panes.bar, modes), stemPane, effectPane),
    tempo(deck),
  );
  deck.on((state) => setAttribute(element, "data-state", state.state));
  return { link: deck, element, strip: strip(deck), waveform, index };
}
