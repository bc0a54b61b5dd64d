// The broadcasts: where they go, their state, a button that stops each, and a field that starts one.
// Loaded with the first, or to start one.

import { h, setAttribute, setText } from "../controls/dom.js";
import { announce } from "../controls/announce.js";
import { button } from "../controls/button.js";

const STATES = {
  starting: "Starting", connecting: "Connecting", live: "Live", waiting: "Interrupted", failed: "Failed",
};

/** Show the broadcasts in `place`, and the field that starts one. `focus`: it gets the focus. */
export function show(live, place, focus = false) {
  if (!place.querySelector(".broadcasts")) {
    const list = broadcastList(live);
    place.replaceChildren(list.root, starter(live));
    live.on("broadcasts", (all) => {
      list.root.hidden = !all.length;
      list.set(all);
    });
  }
  if (focus) place.querySelector("input").focus();
}

// A field for a target, and a button. The URL may contain a password, so it is not kept.
function starter(live) {
  const url = h("input", {
    type: "text", class: "broadcast-url", "aria-label": "Target of the broadcast", spellcheck: "false",
    autocomplete: "off", autocapitalize: "off", placeholder: "icecast+tls://source:password@host:8443/live.mp3",
  });
  const begin = button("Start", "Start the broadcast", async () => {
    const target = url.value.trim();
    if (!target) {
      url.focus();
      return;
    }
    try {
      await live.do("/broadcast/start", target);
      url.value = "";
    } catch (error) {
      announce(error.message, "bad");
    }
  }, { "data-action": "broadcast-start" });
  url.addEventListener("keydown", (event) => {
    if (event.key === "Enter") begin.click();
  });
  return h(
    "div", {}, h("div", { class: "broadcast-starter" }, url, begin),
    h("p", { class: "note" }, "icecast://, icecast+tls://, hls:/folder, snapcast://host or pipe:/path"),
  );
}

// A list of the broadcasts: its element, and a function that shows their states.
function broadcastList(live) {
  const root = h("ul", { class: "waiting-list broadcasts", "aria-label": "Broadcasts" });
  const rows = new Map();
  function row({ number, place }) {
    const state = h("span", { class: "broadcast-state" });
    const text = h("span", { class: "waiting-text", title: place }, place);
    const note = h("span", { class: "waiting-sender" });
    const stop = button("Stop", `Stop the broadcast to ${place}`, () => live.order("/broadcast/stop", number), {
      "data-action": `broadcast-stop-${number}`,
    });
    return { place, state, note, element: h("li", {}, state, text, note, stop) };
  }
  function set(all) {
    const before = [...rows.keys()];
    for (const key of before) {
      if (!all.some((one) => one.number === key && one.place === rows.get(key).place)) rows.delete(key);
    }
    for (const one of all) if (!rows.has(one.number)) rows.set(one.number, row(one));
    const elements = all.map((one) => rows.get(one.number).element);
    // Replaced only if they differ: a button that has the focus keeps it.
    if (elements.length !== root.children.length || elements.some((one, at) => one !== root.children[at])) {
      root.replaceChildren(...elements);
    }
    for (const one of all) {
      const { element, state, note } = rows.get(one.number);
      setAttribute(element, "data-state", one.state);
      setText(state, STATES[one.state] || one.state);
      setText(note, noteOf(one));
    }
  }
  return { root, set };
}

function noteOf({ state, reason, format, bitrate, dropped }) {
  if (state !== "live") return reason;
  const parts = [bitrate ? `${format} ${bitrate} kbit/s` : format];
  if (dropped) parts.push(`${dropped.toFixed(1)} s dropped`);
  return parts.join(", ");
}
