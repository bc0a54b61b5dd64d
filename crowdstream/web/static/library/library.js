// The library panel: media folders, search and loading. Only visible rows are drawn.

import { h, select, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { icon } from "../controls/icons.js";
import { timeText } from "../controls/values.js";
import { guard } from "../controls/guard.js";
import { announce } from "../controls/announce.js";
import { stopsDeck } from "../decks/playing.js";
import { analyseButton } from "./analyse.js";
import { makeDraggable } from "./drag.js";
import { loadPad, stopsPad } from "../pads/pads.js";
import { VirtualList } from "./list.js";
import { Listing } from "./listing.js";
import { Loads } from "./load.js";

const TYPING_MS = 250;
const COLUMNS = [["name", "Name"], ["bpm", "BPM"], ["key", "Key"], ["length", "Length"], ["stems", "Stems"]];

export function makeLibrary(live) {
  const listing = new Listing(() => draw());
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Folder" });
  const status = h("p", { class: "library-status", role: "status" });
  const search = h("input", {
    type: "search", placeholder: "Search: name, 120-126, 8A, Am",
    "aria-label": "Search the library by name, tempo (124, 120-126) and key (8A, Am)",
    autocomplete: "off", spellcheck: "false", id: "library-search",
  });
  let timer = 0;
  function find() {
    clearTimeout(timer);
    timer = 0;
    if (search.value.trim()) listing.search(search.value.trim());
    else listing.open(listing.path);
    list.top();
  }
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, TYPING_MS);
  });
  search.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const moves = ["ArrowDown", "ArrowUp", "PageDown", "PageUp"].includes(event.key);
    if (event.key === "Escape" && search.value) {
      search.value = "";
      find();
    } else if (event.key === "Enter" || moves) {
      if (timer) find();
      list.element.focus();
      if (moves && event.key !== "ArrowDown") list.key(event);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const heads = COLUMNS.map(([name, text]) => {
    const one = h("button", { type: "button", class: `col-head col-${name}`, "data-sort": name,
      onclick: () => listing.sortBy(name) }, text);
    return one;
  });
  const sorter = select("Sort by", COLUMNS, (name) => listing.sortBy(name), { class: "sorter" });
  const list = new VirtualList({ label: "Tracks and folders", row, act, tap, keys, released });
  const loads = new Loads(live, () => drawStatus());
  const guards = {};
  const letters = [..."ABCD"].map((letter) => {
    const one = button(letter, "", null, { class: `load deck-${letter}`, "data-action": `load-${letter}` });
    guards[letter] = guard(one, {
      label: () => `Load the selected track to deck ${letter}`,
      stops: () => stopsDeck(live, letter),
      act: () => load(letter),
    });
    live.on(`deck.${letter}`, guards[letter].refresh);
    return one;
  });
  const targets = h("div", { class: "load-to", role: "group", "aria-label": "Selected track" },
    h("span", { class: "hint" }, "Load to"), ...letters,
    analyseButton(live, () => listing.row(list.chosen)));
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
    stops: (place) => place in guards ? stopsDeck(live, place) : stopsPad(live, place),
    drop: (entry, place) => {
      if (place in guards) loadEntry(entry, place);
      else loadPad(live, place, entry);
    },
    refuse: (place) => {
      if (place in guards) guards[place].refuse();
      else announce(`Hold the track over sample ${place}: it stops ${stopsPad(live, place)}`, "bad");
    },
  });

  function load(letter) {
    const entry = chosen();
    if (entry) loadEntry(entry, letter);
    else announce("Select a track first");
  }
  function loadEntry(entry, letter) {
    loads.load(letter, entry.full, entry.title || entry.name);
  }
  // Enter and double click.
  function act(at) {
    const entry = listing.row(at);
    if (!entry) return;
    if (entry.kind === "folder") {
      go(entry.path);
      return;
    }
    const letter = loads.free;
    if (letter) loadEntry(entry, letter);
    else announce("No free deck: hold the letter of the deck whose track you want to replace", "bad");
  }
  // A touch opens a folder or selects a track, which the buttons then load.
  function tap(at) {
    const entry = listing.row(at);
    if (entry?.kind === "folder") go(entry.path);
  }
  let held = ""; // letter whose key is down
  function keys(event, at) {
    const letter = event.key.toUpperCase();
    if (event.altKey || event.ctrlKey || event.metaKey) return false;
    if (letter in guards && !event.shiftKey) {
      if (event.repeat) return true;
      list.choose(at);
      held = letter;
      if (!guards[letter].press()) load(letter);
      return true;
    }
    if (event.key === "Backspace") {
      if (listing.query) go(listing.path);
      else go(listing.parent);
      return true;
    }
    return false;
  }
  function released(event) {
    if (held && (!event || event.key.toUpperCase() === held)) {
      guards[held].release();
      held = "";
    }
  }
  function go(path) {
    search.value = "";
    listing.path = path;
    find();
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
      h("span", { class: "col-bpm", title: doubtOf(entry) },
        entry.bpm ? `${Number(entry.bpm.toFixed(1))}${entry.uncertain ? "?" : ""}` : ""),
      h("span", { class: "col-key" }, entry.key || ""),
      h("span", { class: "col-length" }, entry.length ? timeText(entry.length) : ""),
      h("span", { class: "col-stems" }, stemDots(entry)),
    );
    return line;
  }

  function drawStatus() {
    setText(status, [loads.text, listing.status].filter(Boolean).join(" "));
  }
  function draw() {
    list.count = listing.count;
    list.draw();
    drawStatus();
    crumbs.replaceChildren(...listing.crumbs.map(([text, path], at, all) => {
      const one = h("button", { type: "button", class: "crumb", onclick: () => go(path) }, text);
      if (at === all.length - 1) one.setAttribute("aria-current", "page");
      return one;
    }));
    for (const one of heads) {
      const on = one.dataset.sort === listing.sort;
      one.classList.toggle("sorted", on);
      one.dataset.order = on && listing.descending ? "down" : "up";
      one.setAttribute("aria-label", `Sort by ${one.textContent}${on ? (listing.descending ? ", descending" : ", ascending") : ""}`);
    }
    sorter.value = listing.sort;
  }
  // Arrow keys move in the list from anywhere in the library, except in elements that use them.
  element.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, [role=listbox]") || event.altKey) return;
    if (!["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End"].includes(event.key)) return;
    list.element.focus();
    list.key(event);
  });
  function chosen() {
    const entry = listing.row(list.chosen);
    return entry && loadable(entry) ? entry : null;
  }
  listing.open("");
  live.events.addEventListener("hello", () => listing.again());
  live.events.addEventListener("analysed", () => listing.refresh());
  return {
    element, drag, chosen, focusSearch: () => search.focus(), focusList: () => list.element.focus(),
    loads,
  };
}

const ICONS = { folder: "folder", track: "stems", file: "file" };

function doubtOf(entry) {
  if (entry.uncertain) return "Uncertain beat grid";
  return entry.uncertain_downbeat ? "Uncertain downbeat: the automatic DJ plays it alone" : "";
}

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
