// The peaks of a deck's stems: tiles are fetched when they become visible, and again as more of
// them is known. For the format of a tile, see docs/development/waveforms.md.

const MAX_TILES = 320; // kept, up to 16 KB each
const AT_ONCE = 4; // concurrent requests per deck
const AGAIN_MS = 120; // until an incomplete tile is fetched again
const RETRY_MS = 100; // until a track's summary is requested again; doubles up to
const LAST_RETRY_MS = 6400;
const ASKED_MS = 400; // after which a tile that was not drawn again is no longer needed

export const MISSING = 0;
export const ROUGH = 1;
export const EXACT = 2;

/** What a deck shows. A server that has restarted counts its tracks from 1 again. */
export function identity(deck) {
  const { number = 0, stems = [] } = deck || {};
  return number ? [number, ...stems.map((stem) => stem.path)].join("\n") : "";
}

export class Peaks extends EventTarget {
  constructor(live, letter, base = "") {
    super();
    this._live = live;
    this._letter = letter;
    this._base = base;
    this.number = 0;
    this._shown = identity(null);
    this.stems = [];
    this.tileSize = 4096;
    this._tiles = new Map();
    this._requests = new Map();
    this._reported = new Set(); // stems with a "wave" event since the latest request of the summary
    this._busy = 0;
    this._timer = 0;
    this._retry = 0;
    this._off = live.on(`deck.${letter}`, (deck) => this._look(deck));
    this._onWave = ({ detail }) => this._update(detail);
    this._again = () => this._fetchAbout();
    live.events.addEventListener("wave", this._onWave);
    live.events.addEventListener("hello", this._again); // the server may have restarted
  }

  close() {
    this._off();
    this._live.events.removeEventListener("wave", this._onWave);
    this._live.events.removeEventListener("hello", this._again);
    clearTimeout(this._timer);
    clearTimeout(this._retry);
    this.number = 0;
  }

  /** The exact part of all stems, 0 to 1. */
  get ready() {
    if (!this.stems.length) return 0;
    return this.stems.reduce((sum, stem) => sum + (stem.failed ? 1 : stem.ready), 0) / this.stems.length;
  }

  /** Buckets per second of a stem's level; 0 if unknown. */
  density(stem, level) {
    const about = this.stems[stem];
    return about && about.bucket ? about.rate / about.bucket / 4 ** level : 0;
  }

  /** The coarsest level with at least `density` buckets per second; -1 if unknown. */
  level(stem, density) {
    const about = this.stems[stem];
    if (!about || !about.bucket) return -1;
    let level = 0;
    while (level + 1 < about.levels.length && this.density(stem, level + 1) >= density) level += 1;
    return level;
  }

  /** A tile as far as it is known: {count, data, known, exact}; fetched if necessary. */
  tile(stem, level, index) {
    const about = this.stems[stem];
    if (!about || !about.bucket || level < 0 || level >= about.levels.length) return null;
    if (index < 0 || index * this.tileSize >= about.levels[level]) return null;
    const key = `${stem}/${level}/${index}`;
    const tile = this._tiles.get(key);
    if (tile) {
      this._tiles.delete(key); // keep the map in order of use
      this._tiles.set(key, tile);
    }
    const stale = tile && !tile.exact && (tile.ready !== about.ready || tile.rough !== about.rough);
    const early = !tile && about.ready <= 0 && (about.rough < 0 || about.rough > level);
    if ((!tile || stale) && !early) this._request(key, stem, level, index);
    return tile && tile.data ? tile : null;
  }

  _look(deck) {
    const shown = identity(deck);
    if (shown === this._shown) return;
    this._shown = shown;
    this.number = (deck && deck.number) || 0;
    this.stems = [];
    this._tiles.clear();
    this._requests.clear();
    this._reported.clear();
    this._notify();
    this._fetchAbout();
  }

  async _fetchAbout(wait = RETRY_MS) {
    const { number, _shown: shown } = this;
    if (!number) return;
    clearTimeout(this._retry);
    this._reported.clear();
    try {
      const answer = await fetch(`${this._base}/waves/${number}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const about = await answer.json();
      if (shown !== this._shown) return;
      this.tileSize = about.tile;
      about.stems.forEach((stem, index) => {
        // A "wave" event during the request may be newer than the response.
        if (!this._reported.has(index)) this._set(index, stem);
      });
      this._notify();
    } catch {
      // The server may not know the track yet, or the connection is down.
      if (shown === this._shown && wait <= LAST_RETRY_MS) {
        this._retry = setTimeout(() => this._fetchAbout(2 * wait), wait);
      }
    }
  }

  _update(wave) {
    if (wave.number !== this.number || wave.deck !== this._letter) return;
    this._reported.add(wave.stem);
    this._set(wave.stem, wave);
    this._notify();
  }

  _set(index, about) {
    const before = this.stems[index];
    this.stems[index] = about;
    for (let stem = 0; stem < index; stem += 1) this.stems[stem] ||= UNKNOWN;
    if (before && before.key && before.key !== about.key) {
      for (const key of [...this._tiles.keys()]) {
        if (key.startsWith(`${index}/`)) this._tiles.delete(key);
      }
    }
  }

  _request(key, stem, level, index) {
    const now = performance.now();
    const request = this._requests.get(key);
    if (request) request.at = now;
    else this._requests.set(key, { key, stem, level, index, at: now, since: 0, busy: false });
    this._pump();
  }

  _pump() {
    const now = performance.now();
    let wait = 0;
    // The newest first: that is what the user is looking at.
    for (const request of [...this._requests.values()].reverse()) {
      if (this._busy >= AT_ONCE) return;
      if (request.busy) continue;
      const tile = this._tiles.get(request.key);
      const due = tile ? tile.at + AGAIN_MS : 0;
      if (now > request.at + ASKED_MS) this._requests.delete(request.key);
      else if (due > now) wait = Math.max(wait, due - now);
      else this._fetch(request);
    }
    if (wait && !this._timer) {
      this._timer = setTimeout(() => {
        this._timer = 0;
        this._pump();
      }, wait);
    }
  }

  async _fetch(request) {
    const { key, stem, level, index } = request;
    const { number, _shown: shown } = this;
    const about = this.stems[stem];
    request.busy = true;
    this._busy += 1;
    const tile = { at: performance.now(), ready: about.ready, rough: about.rough, exact: false };
    try {
      const url = `${this._base}/waves/${number}/${stem}/${level}/${index}?key=${about.key}`;
      const answer = await fetch(url);
      if (answer.ok) Object.assign(tile, decode(await answer.arrayBuffer()));
    } catch {
      // The connection is down: the tile is requested again when it is drawn again.
    }
    this._busy -= 1;
    if (shown === this._shown) {
      this._requests.delete(key);
      if (this.stems[stem]?.key === about.key) this._keep(tile, request);
    }
    this._pump();
  }

  _keep(tile, request) {
    const before = this._tiles.get(request.key);
    if (!tile.data && before?.data) {
      // No response: keep the known data.
      const { count, data, known } = before;
      Object.assign(tile, { count, data, known });
    }
    this._tiles.set(request.key, tile);
    while (this._tiles.size > MAX_TILES) this._tiles.delete(this._tiles.keys().next().value);
    if (tile.data) this.dispatchEvent(new CustomEvent("tile", { detail: request }));
  }

  _notify() {
    this.dispatchEvent(new CustomEvent("about"));
  }
}

const UNKNOWN = { key: "", rough: -1, ready: 0, failed: "", rate: 0, frames: 0, bucket: 0, levels: [] };

/** Decode a tile: {count, data: four bytes per bucket, known: one byte per bucket, exact}. */
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
