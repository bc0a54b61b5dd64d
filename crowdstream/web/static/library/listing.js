// The entries of a folder or of a search, fetched one page at a time.

const PAGE = 100; // rows
const MAX_PAGES = 60; // kept; an evicted page is fetched again when needed
const READING_MS = 1500; // until unread rows are requested again
const BUSY = new Set([429, 503]); // HTTP status of a server that may answer later

export class Listing {
  constructor(changed) {
    this._changed = changed;
    this.path = "";
    this.query = "";
    this.sort = "name";
    this.descending = false;
    this._reset();
  }

  _reset() {
    this.count = 0;
    this.status = "Loading …";
    this._pages = new Map();
    this._requested = new Set(); // pages without an answer yet
    this._unread = new Set(); // pages of which some tags were not read yet
    this._stale = new Set(); // pages to fetch again when drawn
    this._era?.abort();
    this._era = new AbortController();
    clearTimeout(this._timer);
    this._timer = 0;
  }

  open(path) {
    this.path = path;
    this.query = "";
    this.again();
  }

  search(query) {
    this.query = query;
    this.again();
  }

  sortBy(name) {
    this.descending = this.sort === name && !this.descending;
    this.sort = name;
    this.again();
  }

  /** Discard all rows and fetch them again. */
  again() {
    this._reset();
    this._fetch(0);
  }

  /** Fetch the known rows again when they are drawn, and keep them meanwhile. */
  refresh() {
    this._renew([...this._pages.keys(), ...this._requested]);
  }

  _renew(pages) {
    for (const page of pages) this._stale.add(page);
    if (!this.count && this._stale.has(0)) this._fetch(0); // if empty, nothing is drawn
    this._changed();
  }

  /** A row, or null while it is being fetched. */
  row(at) {
    if (at < 0 || at >= this.count) return null;
    const page = Math.floor(at / PAGE);
    if (!this._pages.has(page) || this._stale.has(page)) this._fetch(page);
    const rows = this._pages.get(page);
    return (rows && rows[at - page * PAGE]) || null;
  }

  /** The path of the parent folder. */
  get parent() {
    return this.path.split("/").slice(0, -1).join("/");
  }

  /** Names and paths from the top to the current folder. */
  get crumbs() {
    const parts = this.path ? this.path.split("/") : [];
    const found = [["Library", ""]];
    parts.forEach((part, at) => found.push([(!at && this._root) || part, parts.slice(0, at + 1).join("/")]));
    return this.query ? [["Library", ""], [`Search: ${this.query}`, this.path]] : found;
  }

  async _fetch(page) {
    if (this._requested.has(page)) return;
    this._requested.add(page);
    this._stale.delete(page);
    this._unread.delete(page);
    const era = this._era;
    const about = new URLSearchParams({
      offset: page * PAGE, limit: PAGE, sort: this.sort, order: this.descending ? "down" : "up",
    });
    about.set(this.query ? "q" : "path", this.query || this.path);
    const where = this.query ? "/library/search" : "/library";
    let answer;
    let final = false; // repeating it is useless
    try {
      const response = await fetch(`${where}?${about}`, { signal: era.signal });
      final = !BUSY.has(response.status);
      answer = await response.json();
      if (!response.ok) throw new Error(answer.error || response.statusText);
    } catch (error) {
      if (era !== this._era) return;
      this.status = `The library cannot be read: ${error.message}`;
      // Drawing its rows requests it: not at once, to spare a busy server.
      const again = () => {
        if (era !== this._era) return;
        this._requested.delete(page);
        this._renew([page]);
      };
      if (!final) setTimeout(again, READING_MS);
      this._changed();
      return;
    }
    if (era !== this._era) return;
    this._requested.delete(page);
    this._pages.set(page, answer.entries);
    if (this._pages.size > MAX_PAGES) this._pages.delete(this._pages.keys().next().value);
    this.count = answer.count;
    this._root = answer.root || "";
    this.status = statusText(answer);
    // The server reads tags and durations once rows are requested.
    if (answer.reading) this._unread.add(page);
    if (this._unread.size) {
      this._timer ||= setTimeout(() => {
        this._timer = 0;
        this._renew(this._unread);
      }, READING_MS);
    }
    this._changed();
  }
}

function statusText(answer) {
  if (answer.note) return answer.note;
  const count = answer.count.toLocaleString("en");
  if (answer.truncated) return `Showing the first ${count} entries: use the search to find others`;
  if (answer.count === 0) return "No entries";
  return `${count} ${answer.count === 1 ? "entry" : "entries"}${answer.reading ? ", reading tags …" : ""}`;
}
