// A list of any length that draws only its visible rows. One row is selected; arrow keys move it.

import { h } from "../controls/dom.js";

const DOUBLE_MS = 500; // between the two clicks of a double click
const AROUND = 6; // rows drawn above and below the visible ones

let serial = 0;

export class VirtualList {
  /** options: label, row(at) -> element, act(at) on Enter and double click, tap(at) on a touch,
   * keys(event, at), released(event) on keyup; without the event when the focus is lost. */
  constructor(options) {
    this._options = options;
    this.count = 0;
    this.chosen = 0;
    serial += 1;
    this._id = `list-${serial}`;
    this._space = h("div", { class: "list-space", role: "presentation" });
    this.element = h("div", { class: "list", role: "listbox", tabindex: "0",
      "aria-label": options.label }, this._space);
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("keyup", (event) => options.released(event));
    this.element.addEventListener("blur", () => options.released());
    // Each click redraws the rows, so some browsers do not report a double click: count clicks.
    let time = 0;
    this.element.addEventListener("click", (event) => {
      const at = this.indexOf(event.target);
      if (at < 0) return;
      const twice = at === this._clicked && event.timeStamp - time < DOUBLE_MS;
      this._clicked = twice ? -1 : at;
      time = event.timeStamp;
      this.choose(at);
      if (twice) options.act(at);
      else if (event.pointerType === "touch") options.tap(at);
    });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** Scroll to the top and select the first row. */
  top() {
    this._clicked = -1; // of the rows before
    this.element.scrollTop = 0;
    this.chosen = 0;
    this.draw();
  }

  /** The index of the row that contains an element, or -1. */
  indexOf(target) {
    const row = target.closest("[data-at]");
    return row ? Number(row.dataset.at) : -1;
  }

  choose(at) {
    this.chosen = Math.max(0, Math.min(this.count - 1, at));
    const top = this.chosen * this._height;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this._height > scrollTop + clientHeight) {
      this.element.scrollTop = top + this._height - clientHeight;
    }
    this.draw();
  }

  draw() {
    this._height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 36;
    const height = this._height;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / height) - AROUND);
    const last = Math.min(this.count, Math.ceil((scrollTop + clientHeight) / height) + AROUND);
    const rows = [];
    for (let at = first; at < last; at += 1) {
      const row = this._options.row(at);
      row.dataset.at = String(at);
      row.id = `${this._id}-${at}`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", at === this.chosen ? "true" : "false");
      row.setAttribute("aria-posinset", String(at + 1));
      row.setAttribute("aria-setsize", String(this.count));
      row.style.setProperty("transform", `translateY(${at * height}px)`);
      rows.push(row);
    }
    this._space.style.setProperty("height", `${this.count * height}px`);
    this._space.replaceChildren(...rows);
    if (this.count) this.element.setAttribute("aria-activedescendant", `${this._id}-${this.chosen}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** Handle a key, possibly one that was pressed outside the list. */
  key(event) {
    if (event.isComposing) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this._height) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (plain && event.key in moves) this.choose(this.chosen + moves[event.key]);
    else if (plain && event.key === "Home") this.choose(0);
    else if (plain && event.key === "End") this.choose(this.count - 1);
    else if (plain && event.key === "Enter") {
      if (!event.repeat) this._options.act(this.chosen);
    } else if (!this._options.keys(event, this.chosen)) return;
    event.preventDefault();
    event.stopPropagation();
  }
}
