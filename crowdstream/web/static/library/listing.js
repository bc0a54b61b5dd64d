// What the server says is in a folder or found by a search, fetched a page at a time.

const PAGE = 100; // rows
const MAX_PAGES = 60; // kept; the oldest is asked for again when it is needed
const READING_MS = 1500; // until what was not read yet is asked for again

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
    this._asked = new Set();
    this._era = (this._era || 0) + 1;
    clearTimeout(this._timer);
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

  /** Ask anew, from the beginning. */
  again() {
    this._reset();
    this._fetch(0);
  }

  /** Ask for what is known of the rows again, and keep them meanwhile. */
  refresh() {
    this._asked.clear();
    for (const page of [...this._pages.keys()].slice(-2)) this._fetch(page);
  }

  /** A row, or null while it is on its way. */
  row(at) {
    if (at < 0 || at >= this.count) return null;
    const page = Math.floor(at / PAGE);
    if (!this._pages.has(page)) this._fetch(page);
    const rows = this._pages.get(page);
    return (rows && rows[at - page * PAGE]) || null;
  }

  /** The folder above. */
  get parent() {
    return this.path.split("/").slice(0, -1).join("/");
  }

  /** Names and paths from the top to here. */
  get crumbs() {
    const parts = this.path ? this.path.split("/") : [];
    const found = [["Library", ""]];
    parts.forEach((part, at) => found.push([this._rootName(part, at), parts.slice(0, at + 1).join("/")]));
    return this.query ? [["Library", ""], [`Search: ${this.query}`, this.path]] : found;
  }

  _rootName(part, at) {
    return at === 0 && this._root ? this._root : part;
  }

  async _fetch(page) {
    if (this._asked.has(page)) return;
    this._asked.add(page);
    const era = this._era;
    const about = new URLSearchParams({
      offset: page * PAGE, limit: PAGE, sort: this.sort, order: this.descending ? "down" : "up",
    });
    about.set(this.query ? "q" : "path", this.query || this.path);
    const where = this.query ? "/library/search" : "/library";
    let answer;
    try {
      const response = await fetch(`${where}?${about}`);
      answer = await response.json();
      if (!response.ok) throw new Error(answer.error || response.statusText);
    } catch (error) {
      if (era !== this._era) return;
      this.status = `The library can't be read: ${error.message}`;
      this._asked.delete(page);
      this._changed();
      return;
    }
    if (era !== this._era) return;
    this._pages.set(page, answer.entries);
    if (this._pages.size > MAX_PAGES) {
      const oldest = this._pages.keys().next().value;
      this._pages.delete(oldest);
      this._asked.delete(oldest);
    }
    this.count = answer.count;
    this._root = answer.root || "";
    this.status = statusText(answer);
    // Tags and lengths are read while rows are looked at.
    if (answer.reading) {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => {
        if (era === this._era) {
          this._asked.clear();
          this._fetch(page);
        }
      }, READING_MS);
    }
    this._changed();
  }
}

function statusText(answer) {
  if (answer.note) return answer.note;
  const count = answer.count.toLocaleString("en");
  if (answer.truncated) return `The first ${count}; there are more: search for the rest`;
  if (answer.count === 0) return "Nothing here";
  return `${count} ${answer.count === 1 ? "entry" : "entries"}${answer.reading ? ", reading tags …" : ""}`;
}
