// The peaks of a deck's stems: tiles are fetched when they are looked at, and again while more of
// them is known each time. See docs/development/waveforms.md for what a tile holds.

const MAX_TILES = 320; // kept, 16 KB each at most
const AT_ONCE = 4; // requests of a deck under way
const AGAIN_MS = 120; // until a tile that was not complete is fetched again
const RETRY_MS = 100; // until what there is of a track is asked for again; doubles up to
const LAST_RETRY_MS = 6400;
const ASKED_MS = 400; // after which nobody looks at it any more

export const MISSING = 0;
export const ROUGH = 1;
export const EXACT = 2;

export class Peaks extends EventTarget {
  constructor(live, letter, base = "") {
    super();
    this._live = live;
    this._letter = letter;
    this._base = base;
    this.number = 0;
    this.stems = [];
    this.tileSize = 4096;
    this._tiles = new Map();
    this._asked = new Map();
    this._heard = new Set(); // stems that were told of since all of them were asked for
    this._busy = 0;
    this._timer = 0;
    this._retry = 0;
    this._off = live.on(`deck.${letter}`, (deck) => this._look(deck));
    this._hear = ({ detail }) => this._learn(detail);
    this._again = () => this._fetchAbout();
    live.events.addEventListener("wave", this._hear);
    live.events.addEventListener("hello", this._again); // the server may be another one
  }

  close() {
    this._off();
    this._live.events.removeEventListener("wave", this._hear);
    this._live.events.removeEventListener("hello", this._again);
    clearTimeout(this._timer);
    clearTimeout(this._retry);
    this.number = 0;
  }

  /** Which part of all stems is exact, 0 to 1. */
  get ready() {
    if (!this.stems.length) return 0;
    return this.stems.reduce((sum, stem) => sum + (stem.failed ? 1 : stem.ready), 0) / this.stems.length;
  }

  /** Buckets per second of a level of a stem; 0 while nothing is known of it. */
  density(stem, level) {
    const about = this.stems[stem];
    return about && about.bucket ? about.rate / about.bucket / 4 ** level : 0;
  }

  /** The coarsest level of at least so many buckets per second; -1 while nothing is known. */
  level(stem, density) {
    const about = this.stems[stem];
    if (!about || !about.bucket) return -1;
    let level = 0;
    while (level + 1 < about.levels.length && this.density(stem, level + 1) >= density) level += 1;
    return level;
  }

  /** A tile, as far as it is there: {count, data, known, exact}; it is fetched if need be. */
  tile(stem, level, index) {
    const about = this.stems[stem];
    if (!about || !about.bucket || level < 0 || level >= about.levels.length) return null;
    if (index < 0 || index * this.tileSize >= about.levels[level]) return null;
    const key = `${stem}/${level}/${index}`;
    const tile = this._tiles.get(key);
    if (tile) {
      this._tiles.delete(key); // the one that was looked at last goes last
      this._tiles.set(key, tile);
    }
    const stale = tile && !tile.exact && (tile.ready !== about.ready || tile.rough !== about.rough);
    const early = !tile && about.ready <= 0 && (about.rough < 0 || about.rough > level);
    if ((!tile || stale) && !early) this._ask(key, stem, level, index);
    return tile && tile.data ? tile : null;
  }

  _look(deck) {
    const number = (deck && deck.number) || 0;
    if (number === this.number) return;
    this.number = number;
    this.stems = [];
    this._tiles.clear();
    this._asked.clear();
    this._heard.clear();
    this._tell();
    this._fetchAbout();
  }

  async _fetchAbout(wait = RETRY_MS) {
    const { number } = this;
    if (!number) return;
    clearTimeout(this._retry);
    this._heard.clear();
    try {
      const answer = await fetch(`${this._base}/waves/${number}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const about = await answer.json();
      if (number !== this.number) return;
      this.tileSize = about.tile;
      about.stems.forEach((stem, index) => {
        // What was told meanwhile may be newer, and what is newer still will be told.
        if (!this._heard.has(index)) this._take(index, stem);
      });
      this._tell();
    } catch {
      // It may not be known there yet, or the connection is away.
      if (number === this.number && wait <= LAST_RETRY_MS) {
        this._retry = setTimeout(() => this._fetchAbout(2 * wait), wait);
      }
    }
  }

  _learn(wave) {
    if (wave.number !== this.number || wave.deck !== this._letter) return;
    this._heard.add(wave.stem);
    this._take(wave.stem, wave);
    this._tell();
  }

  _take(index, about) {
    const before = this.stems[index];
    this.stems[index] = about;
    for (let stem = 0; stem < index; stem += 1) this.stems[stem] ||= UNKNOWN;
    if (before && before.key && before.key !== about.key) {
      for (const key of [...this._tiles.keys()]) {
        if (key.startsWith(`${index}/`)) this._tiles.delete(key);
      }
    }
  }

  _ask(key, stem, level, index) {
    const now = performance.now();
    const asked = this._asked.get(key);
    if (asked) asked.at = now;
    else this._asked.set(key, { key, stem, level, index, at: now, since: 0, busy: false });
    this._pump();
  }

  _pump() {
    const now = performance.now();
    let wait = 0;
    // The newest first: that is where somebody looks now.
    for (const asked of [...this._asked.values()].reverse()) {
      if (this._busy >= AT_ONCE) return;
      if (asked.busy) continue;
      const tile = this._tiles.get(asked.key);
      const due = tile ? tile.at + AGAIN_MS : 0;
      if (now > asked.at + ASKED_MS) this._asked.delete(asked.key);
      else if (due > now) wait = Math.max(wait, due - now);
      else this._fetch(asked);
    }
    if (wait && !this._timer) {
      this._timer = setTimeout(() => {
        this._timer = 0;
        this._pump();
      }, wait);
    }
  }

  async _fetch(asked) {
    const { key, stem, level, index } = asked;
    const { number } = this;
    const about = this.stems[stem];
    asked.busy = true;
    this._busy += 1;
    const tile = { at: performance.now(), ready: about.ready, rough: about.rough, exact: false };
    try {
      const url = `${this._base}/waves/${number}/${stem}/${level}/${index}?key=${about.key}`;
      const answer = await fetch(url);
      if (answer.ok) Object.assign(tile, decode(await answer.arrayBuffer()));
    } catch {
      // The connection is away: asked again when it is looked at again.
    }
    this._busy -= 1;
    if (number === this.number && this.stems[stem]?.key === about.key) {
      this._asked.delete(key);
      const before = this._tiles.get(key);
      if (!tile.data && before?.data) {
        // Not answered: what was known is still good to draw.
        const { count, data, known } = before;
        Object.assign(tile, { count, data, known });
      }
      this._tiles.set(key, tile);
      while (this._tiles.size > MAX_TILES) this._tiles.delete(this._tiles.keys().next().value);
      if (tile.data) this.dispatchEvent(new CustomEvent("tile", { detail: asked }));
    }
    this._pump();
  }

  _tell() {
    this.dispatchEvent(new CustomEvent("about"));
  }
}

const UNKNOWN = { key: "", rough: -1, ready: 0, failed: "", rate: 0, frames: 0, bucket: 0, levels: [] };

/** A tile's bytes: {count, data: four bytes a bucket, known: one byte a bucket, exact}. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const count = view.getUint32(0, true);
  const runs = view.getUint32(4, true);
  const known = new Uint8Array(count);
  let at = 0;
  let exact = true;
  for (let run = 0; run < runs; run += 1) {
    const length = view.getUint16(8 + 4 * run, true);
    const state = view.getUint8(10 + 4 * run);
    known.fill(state, at, at + length);
    at += length;
    if (state !== EXACT) exact = false;
  }
  return { count, data: new Uint8Array(buffer, 8 + 4 * runs, 4 * count), known, exact };
}
