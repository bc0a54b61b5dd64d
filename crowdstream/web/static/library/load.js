// Loading a track onto a deck: said when it begins, when it is done, and when it fails.

import { say } from "../controls/say.js";
import { runs } from "../decks/playing.js";

const LETTERS = [..."ABCD"];
const GOOD = new Set(["ready", "playing"]);

export class Loads {
  constructor(live, changed = () => {}) {
    this._live = live;
    this._changed = changed;
    this._under = new Map(); // letter of a deck: what is being loaded there by this page
  }

  /** Load the file or folder `path`, which a person knows as `name`; whether it is there now. */
  async load(letter, path, name) {
    const live = this._live;
    const one = { name };
    this._under.set(letter, one);
    this._changed();
    say(`Loading ${name} to deck ${letter} …`);
    try {
      await Promise.race([live.finish(`/deck/${letter}/load`, path), this._shown(letter, path, one)]);
      if (this._under.get(letter) !== one) return false;
      say(`${name} is loaded to deck ${letter}`);
      return true;
    } catch (error) {
      // What another load has taken the place of is of no interest any more.
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

  /** What is being loaded, as one text. */
  get text() {
    return [...this._under].map(([letter, { name }]) => `Loading ${name} to deck ${letter} …`).join(" ");
  }

  /** A deck that a track can go to without stopping anything: empty, or else not needed; or "". */
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

  // Resolves, or rejects, by what the deck shows: a server that is started again meanwhile does
  // not answer what it was told before.
  _shown(letter, path, one) {
    const key = `deck.${letter}`;
    const { number } = this._live.get(key) || {};
    return new Promise((resolve, reject) => {
      one.end = this._live.on(key, (state) => {
        if (state.path !== path || state.number === number) return;
        if (GOOD.has(state.state)) resolve();
        else if (state.state === "failed") reject(new Error(state.reason || "it can't be read"));
      });
    });
  }
}
