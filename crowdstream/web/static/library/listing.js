// The entries of a folder or of a search, fetched one page at a time.

const PAGE = 100; // rows
const MAX_PAGES = 60; // kept; an evicted page is fetched again when needed
const READING_MS = 1500; // until unread tags are requested again

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
    this._requested = new Set();
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

  /** Discard all rows and fetch them again. */
  again() {
    this._reset();
    this._fetch(0);
  }

  /** Fetch the known rows again, and keep them meanwhile. */
  refresh() {
    this._requested.clear();
    for (const page of [...this._pages.keys()].slice(-2)) this._fetch(page);
  }

  /** A row, or null while it is being fetched. */
  row(at) {
    if (at < 0 || at >= this.count) return null;
    const page = Math.floor(at / PAGE);
    if (!this._pages.has(page)) this._fetch(page);
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
    parts.forEach((part, at) => found.push([this._rootName(part, at), parts.slice(0, at + 1).join("/")]));
    return this.query ? [["Library", ""], [`Search: ${this.query}`, this.path]] : found;
  }

  _rootName(part, at) {
    return at === 0 && this._root ? this._root : part;
  }

  async _fetch(page) {
    if (this._requested.has(page)) return;
    this._requested.add(page);
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
      this.status = `The library cannot be read: ${error.message}`;
      this._requested.delete(page);
      this._changed();
      return;
    }
    if (era !== this._era) return;
    this._pages.set(page, answer.entries);
    if (this._pages.size > MAX_PAGES) {
      const oldest = this._pages.keys().next().value;
      this._pages.delete(oldest);
      this._requested.delete(oldest);
    }
    this.count = answer.count;
    this._root = answer.root || "";
    this.status = statusText(answer);
    // The server reads tags and durations once rows are requested.
    if (answer.reading) {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => {
        if (era === this._era) {
          this._requested.clear();
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
  if (answer.truncated) return `Showing the first ${count} entries: use the search to find others`;
  if (answer.count === 0) return "No entries";
  return `${count} ${answer.count === 1 ? "entry" : "entries"}${answer.reading ? ", reading tags …" : ""}`;
}
