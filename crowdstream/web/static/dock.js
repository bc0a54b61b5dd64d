// The dock below the decks: library, sends, pads, DJ and health. When closed, only its tab bar is visible.

import { h } from "./controls/dom.js";
import { button } from "./controls/button.js";
import { setIcon } from "./controls/icons.js";
import { tabs } from "./controls/tabs.js";
import { makeBuses } from "./mixer/buses.js";
import { makeDj } from "./dj/dj.js";
import { makeHours } from "./dj/hours.js";
import { makeHealth } from "./health/health.js";
import { makeLibrary } from "./library/library.js";
import { makePads } from "./pads/pads.js";

const TITLES = {
  library: "Library", buses: "Live inputs, sends and master FX", pads: "Sample pads and announcements", dj: "DJ",
  health: "Health",
};

export function makeDock(live) {
  const library = makeLibrary(live);
  const health = makeHealth(live);
  const panels = {
    library: h("div", { class: "panel panel-library" }, library.element),
    buses: h("div", { class: "panel panel-buses" }, makeBuses(live)),
    pads: h("div", { class: "panel panel-pads" }, makePads(live, library.chosen)),
    dj: h("div", { class: "panel panel-dj" }, makeHours(live), makeDj(live).element),
    health: h("div", { class: "panel panel-health" }, health.element),
  };
  const element = document.getElementById("dock");
  // Headings inside the panels are one level lower.
  for (const [name, title] of Object.entries(TITLES)) panels[name].prepend(h("h2", { class: "sr" }, title));
  const names = Object.keys(panels);
  let ready = false;
  const bar = tabs("Panels", [
    ["library", "Library", panels.library],
    ["buses", "Sends & master FX", panels.buses],
    ["pads", "Pads", panels.pads],
    ["dj", "DJ", panels.dj],
    ["health", "Health", panels.health],
  ], () => ready && open(bar.chosen()));
  const badge = h("span", { class: "badge" });
  badge.hidden = true;
  bar.bar.querySelector("[data-tab=health]").append(badge);
  const fold = button("icon:up", "Show the panels", () => set(!isOpen()), {
    class: "quiet dock-fold", "aria-expanded": "false", "data-action": "dock",
  });
  element.append(h("div", { class: "dock-bar" }, bar.bar, fold), ...Object.values(panels));

  function isOpen() {
    return element.classList.contains("open");
  }
  let opener = null; // the element that had the focus before
  function set(on) {
    const { activeElement } = document;
    if (on && !element.contains(activeElement)) opener = activeElement;
    else if (!on && element.contains(activeElement)) {
      activeElement.blur();
      if (opener && opener !== document.body && opener.isConnected) opener.focus();
    }
    element.classList.toggle("open", on);
    document.body.classList.toggle("docked", on);
    setIcon(fold, on ? "down" : "up");
    fold.setAttribute("aria-label", on ? "Hide the panels" : "Show the panels");
    fold.setAttribute("aria-expanded", on ? "true" : "false");
    live.see(["health"]);
    if (on) health.draw();
  }
  function open(name) {
    if (bar.chosen() !== name) {
      ready = false;
      bar.choose(name);
      ready = true;
    }
    set(true);
  }
  ready = true;
  set(false);

  // The badge shows the underruns since the page was opened, even while the dock is closed.
  let first = null;
  live.events.addEventListener("health", ({ detail }) => {
    if (first === null || detail.underruns < first) first = detail.underruns;
    badge.hidden = detail.underruns === first;
    badge.textContent = String(detail.underruns - first);
  });
  return {
    names,
    loads: library.loads,
    open,
    toggle: (name) => {
      if (isOpen() && bar.chosen() === name) set(false);
      else {
        open(name);
        if (name === "library") library.focusList();
      }
    },
    close: () => set(false),
    search: () => {
      open("library");
      library.focusSearch();
    },
  };
}
