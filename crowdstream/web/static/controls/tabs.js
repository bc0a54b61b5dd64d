// Tabs according to the ARIA practices: arrow keys select, and only one tab is in the tab order.

import { h } from "./dom.js";

let serial = 0;

/** Tabs for panels: `entries` are [name, text, panel]. Returns {bar, choose, chosen}. */
export function tabs(label, entries, onchoose = () => {}) {
  const bar = h("div", { role: "tablist", "aria-label": label, class: "tabs" });
  const buttons = new Map();
  let chosen = null;
  function choose(name, focus = false) {
    chosen = name;
    for (const [key, , panel] of entries) {
      const tab = buttons.get(key);
      tab.setAttribute("aria-selected", key === name ? "true" : "false");
      tab.setAttribute("tabindex", key === name ? "0" : "-1");
      panel.hidden = key !== name;
    }
    if (focus) buttons.get(name).focus();
    onchoose(name);
  }
  for (const [name, text, panel] of entries) {
    serial += 1;
    panel.id = panel.id || `panel-${serial}`;
    panel.setAttribute("role", "tabpanel");
    const tab = h(
      "button",
      { type: "button", role: "tab", class: "tab", id: `tab-${serial}`, "aria-controls": panel.id,
        "data-tab": name, onclick: () => choose(name) },
      text,
    );
    panel.setAttribute("aria-labelledby", tab.id);
    buttons.set(name, tab);
    bar.append(tab);
  }
  bar.addEventListener("keydown", (event) => {
    const names = entries.map(([name]) => name);
    const at = names.indexOf(chosen);
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -at, End: names.length - 1 - at };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    choose(names[(at + steps[event.key] + names.length) % names.length], true);
  });
  choose(entries[0][0]);
  return { bar, choose, chosen: () => chosen };
}
