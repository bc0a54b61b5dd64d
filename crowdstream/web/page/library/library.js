// The library: media roots, folders, search; rows are drawn only where they are seen.

import { h, select, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { icon } from "../controls/icons.js";
import { timeText } from "../controls/values.js";
import { say } from "../controls/say.js";
import { makeDraggable } from "./drag.js";
import { VirtualList } from "./list.js";
import { Listing } from "./listing.js";

const TYPING_MS = 250;
const COLUMNS = [["name", "Name"], ["bpm", "BPM"], ["key", "Key"], ["length", "Length"], ["stems", "Stems"]];

export function makeLibrary(live) {
  const listing = new Listing(() => draw());
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Folder" });
  const status = h("p", { class: "library-status", role: "status" });
  const search = h("input", {
    type: "search", placeholder: "Search all folders", "aria-label": "Search the library",
    autocomplete: "off", spellcheck: "false", id: "library-search",
  });
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (search.value.trim()) listing.search(search.value.trim());
      else listing.open(listing.path);
      list.top();
    }, TYPING_MS);
  });
  const heads = COLUMNS.map(([name, text]) => {
    const one = h("button", { type: "button", class: `col-head col-${name}`, "data-sort": name,
      onclick: () => listing.sortBy(name) }, text);
    return one;
  });
  const sorter = select("Sort by", COLUMNS, (name) => listing.sortBy(name), { class: "sorter" });
  const list = new VirtualList({ label: "Tracks and folders", row, act, keys });
  const targets = h("div", { class: "load-to", role: "group", "aria-label": "Load the chosen track" },
    h("span", { class: "hint" }, "Load to"),
    ...[..."ABCD"].map((letter) => button(letter, `Load the chosen track to deck ${letter}`,
      () => load(letter), { class: `load deck-${letter}`, "data-action": `load-${letter}` })));
  const element = h(
    "div", { class: "library" },
    h("div", { class: "library-bar" }, crumbs,
      h("label", { class: "search" }, icon("search"), search), sorter, targets),
    h("div", { class: "list-head" }, ...heads),
    list.element, status,
  );
  const drag = makeDraggable(list.element, {
    pick: (target) => {
      const at = list.indexOf(target);
      const entry = at < 0 ? null : listing.row(at);
      return entry && loadable(entry) ? entry : null;
    },
    name: (entry) => entry.title || entry.name,
    drop: (entry, letter) => loadEntry(entry, letter),
  });

  function load(letter) {
    const entry = listing.row(list.chosen);
    if (!entry || !loadable(entry)) say("Choose a track first");
    else loadEntry(entry, letter);
  }
  function loadEntry(entry, letter) {
    const shown = entry.title || entry.name;
    live.do(`/deck/${letter}/load`, entry.full).then(
      () => say(`${shown} is loaded to deck ${letter}`),
      (error) => say(`${shown}: ${error.message}`, "bad"),
    );
  }
  function act(at) {
    const entry = listing.row(at);
    if (!entry) return;
    if (entry.kind === "folder") go(entry.path);
    else if (entry.kind === "track" && matchMedia("(pointer: fine)").matches) loadEntry(entry, freeDeck());
  }
  // A deck without a track, or the first that does not play.
  function freeDeck() {
    const state = (letter) => (live.get(`deck.${letter}`) || {}).state;
    const free = [..."ABCD"].find((letter) => state(letter) === "empty");
    return free || [..."ABCD"].find((letter) => state(letter) !== "playing") || "D";
  }
  function keys(event, at) {
    const letter = event.key.toUpperCase();
    if ("ABCD".includes(letter) && letter.length === 1 && !event.ctrlKey && !event.metaKey) {
      list.choose(at);
      load(letter);
      return true;
    }
    if (event.key === "Backspace") {
      go(listing.parent);
      return true;
    }
    return false;
  }
  function go(path) {
    search.value = "";
    listing.open(path);
    list.top();
  }

  function row(at) {
    const entry = listing.row(at);
    const line = h("div", { class: "row" });
    if (!entry) {
      line.append(h("span", { class: "col-name waiting" }, "…"));
      return line;
    }
    line.dataset.kind = entry.kind;
    const name = h("span", { class: "col-name" }, icon(ICONS[entry.kind] || "file"),
      h("span", { class: "names" }, h("span", { class: "first" }, entry.title || entry.name),
        entry.artist || listing.query
          ? h("span", { class: "second" }, entry.artist || entry.folder || "") : null));
    name.title = entry.path;
    line.append(
      name,
      h("span", { class: "col-bpm", title: entry.uncertain ? "Uncertain beat grid" : "" },
        entry.bpm ? `${Number(entry.bpm.toFixed(1))}${entry.uncertain ? "?" : ""}` : ""),
      h("span", { class: "col-key" }, entry.key || ""),
      h("span", { class: "col-length" }, entry.length ? timeText(entry.length) : ""),
      h("span", { class: "col-stems" }, stemDots(entry)),
    );
    return line;
  }

  function draw() {
    list.count = listing.count;
    list.draw();
    setText(status, listing.status);
    crumbs.replaceChildren(...listing.crumbs.map(([text, path], at, all) => {
      const one = h("button", { type: "button", class: "crumb", onclick: () => go(path) }, text);
      if (at === all.length - 1) one.setAttribute("aria-current", "page");
      return one;
    }));
    for (const one of heads) {
      const on = one.dataset.sort === listing.sort;
      one.classList.toggle("sorted", on);
      one.dataset.order = on && listing.descending ? "down" : "up";
      one.setAttribute("aria-label", `Sort by ${one.textContent}${on ? (listing.descending ? ", now falling" : ", now rising") : ""}`);
    }
    sorter.value = listing.sort;
  }
  listing.open("");
  live.events.addEventListener("hello", () => listing.again());
  return { element, drag, focusSearch: () => search.focus() };
}

const ICONS = { folder: "folder", track: "stems", file: "file" };

function loadable(entry) {
  return entry.kind !== "folder" || entry.loadable;
}

function stemDots(entry) {
  const count = entry.stems ? entry.stems.length : 0;
  if (!count) return "";
  const dots = entry.stems.map((_name, at) => h("i", { class: `stem-${at + 1}` }));
  const without = (entry.left_out ?? []).map((line) => `\nwithout ${line}`).join("");
  return h("span", { class: "stem-dots", title: entry.stems.join(", ") + without, role: "img",
    "aria-label": `${count} stems: ${entry.stems.join(", ")}` }, ...dots);
}
