// Load a track onto a deck, and announce the start, the end and a failure.

import { announce } from "../controls/announce.js";
import { runs } from "../decks/playing.js";

const LETTERS = [..."ABCD"];
const GOOD = new Set(["ready", "playing"]);

export class Loads {
  constructor(live, changed = () => {}) {
    this._live = live;
    this._changed = changed;
    this._under = new Map(); // loads of this page in progress, by deck letter
  }

  /** Load the file or folder `path`, displayed as `name`. Resolves to whether it was loaded. */
  async load(letter, path, name) {
    const live = this._live;
    const one = { name };
    this._under.set(letter, one);
    this._changed();
    announce(`Loading ${name} to deck ${letter} …`);
    const shown = this._shown(letter, path, one);
    try {
      await Promise.race([live.finish(`/deck/${letter}/load`, path), shown]);
      if (this._under.get(letter) !== one) return false;
      announce(`${name} is loaded to deck ${letter}`);
      // Until its state shows this, the deck would count as free.
      await Promise.race([shown, new Promise((end) => setTimeout(end, 1000))]);
      return true;
    } catch (error) {
      // A load that another one has replaced is not reported.
      if (this._under.get(letter) === one) {
        live.events.dispatchEvent(new CustomEvent("refused", { detail: {
          address: `/deck/${letter}/load`, args: [path],
          reason: `${name} is not loaded to deck ${letter}: ${error.message}`,
        } }));
      }
      return false;
    } finally {
      one.end();
      if (this._under.get(letter) === one) this._under.delete(letter);
      this._changed();
    }
  }

  /** The loads in progress, as one text. */
  get text() {
    return [...this._under].map(([letter, { name }]) => `Loading ${name} to deck ${letter} …`).join(" ");
  }

  /** A deck that can be loaded without stopping anything, preferably an empty one; or "". */
  get free() {
    const live = this._live;
    const dj = live.get("dj") || {};
    const taken = dj.there ? [(dj.now || {}).deck, (dj.next || {}).deck] : [];
    const idle = LETTERS.filter((letter) => {
      const state = live.get(`deck.${letter}`) || {};
      const coming = state.state === "loading" || state.incoming || this._under.has(letter);
      return !runs(state) && !coming && !taken.includes(letter);
    });
    const find = (test) => idle.find((letter) => test(live.get(`deck.${letter}`) || {}));
    return find(({ state = "empty" }) => state === "empty" || state === "failed")
      || find(({ voice }) => !(voice >= 0)) || idle[0] || "";
  }

  // Settles according to the deck's state: a server that restarts during the load does not reply to
  // the earlier command.
  _shown(letter, path, one) {
    const key = `deck.${letter}`;
    const { number } = this._live.get(key) || {};
    return new Promise((resolve, reject) => {
      one.end = this._live.on(key, (state) => {
        if (state.path !== path || state.number === number) return;
        if (GOOD.has(state.state)) resolve();
        else if (state.state === "failed") reject(new Error(state.reason || "the file cannot be read"));
      });
    });
  }
}
