// What happened: gaps with their cause and what to do, events, refused commands, lost connections.

import { h } from "../controls/dom.js";
import { say } from "../controls/say.js";

const MAX_LINES = 200;
const UNDERRUN_MS = 30000; // between two that are said aloud

const CAUSES = {
  late_callback: "the system woke the engine late",
  slow_render: "rendering took longer than the block",
  device: "the device or sound server was late",
  engine: "an engine had died or hung",
  device_lost: "the sound device was gone",
  missing_page: "a part of a track was not in memory",
};

export function makeLog(live) {
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": "What happened, latest first" });
  const none = h("p", { class: "hint" }, "Nothing yet. That is good.");
  const element = h("div", {}, none, list);
  const known = new Set();

  function add(text, kind, when = new Date(), advice = "") {
    none.hidden = true;
    const item = h("li", { class: kind },
      h("time", { datetime: when.toISOString() }, when.toLocaleTimeString([], { hour12: false })),
      h("span", { class: "log-text" }, text), advice ? h("span", { class: "log-advice" }, advice) : null);
    item.dataset.at = String(when.getTime());
    const after = [...list.children].find((one) => Number(one.dataset.at) <= when.getTime());
    list.insertBefore(item, after || null);
    while (list.children.length > MAX_LINES) list.lastChild.remove();
  }

  // Underruns may come every second; all are in the list, and one now and then is said.
  let underrunSaid = -Infinity;
  function often(address) {
    if (address !== "/underrun") return false;
    const before = underrunSaid;
    if (performance.now() - before < UNDERRUN_MS) return true;
    underrunSaid = performance.now();
    return false;
  }

  live.events.addEventListener("event", ({ detail }) => {
    const [text, kind] = eventText(detail);
    if (!text) return;
    add(text, kind);
    if (kind !== "quiet" && !often(detail[0])) say(text, kind);
  });
  live.events.addEventListener("refused", ({ detail }) => {
    const text = `${detail.address}: ${detail.reason}`;
    add(text, "bad");
    say(detail.reason, "bad");
  });
  live.events.addEventListener("state", ({ detail }) => {
    if (detail === "lost") add("The connection to the server was lost", "bad");
    else add("Connected to the server", "quiet");
  });
  live.events.addEventListener("health", ({ detail }) => {
    for (const gap of [...(detail.gaps || [])].reverse()) {
      const id = `${gap.frame} ${gap.cause}`;
      if (known.has(id)) continue;
      known.add(id);
      const when = new Date(Date.now() - gap.ago * 1000);
      const long = gap.ms >= 0.05 ? ` of ${gap.ms.toFixed(1)} ms` : "";
      add(`Gap${long}: ${CAUSES[gap.cause] || gap.cause}`, "bad", when, gap.advice);
    }
  });
  return { element };
}

const ENGINES = {
  died: "The engine had died", hung: "The engine hung", device: "The sound device is gone",
  found: "The sound device is there again", resized: "The buffer size was changed",
};

// An event of the server as a sentence, and how bad it is.
function eventText([address, ...args]) {
  switch (address) {
    case "/underrun":
      return [`${args[1]} ${args[1] === 1 ? "underrun" : "underruns"}: ${CAUSES[args[0]] || args[0]}, ${Number(args[2]).toFixed(1)} ms`, "bad"];
    case "/ended":
      return [`${args[1]} has come to its end`, "quiet"];
    case "/broken":
      return [`A file is damaged: ${args[1]}`, "bad"];
    case "/stall":
      return [`The medium took ${Number(args[1]).toFixed(1)} s to read ${args[0]}`, "bad"];
    case "/restarted":
      return [`${args[0]} has died, and another one goes on`, "bad"];
    case "/device":
      return [args[0] ? "The sound device is there again" : "The sound device is gone", args[0] ? "" : "bad"];
    case "/engine":
      return [`${ENGINES[args[0]] || args[0]}: another engine plays, ${Number(args[1]).toFixed(1)} ms were lost`, "bad"];
    case "/buffer_size":
      return [`The buffer size becomes ${args[0]} frames: up to ${Number(args[1]).toFixed(0)} ms of silence`, ""];
    case "/quality":
      return [`Quality is ${args[0] ? `lowered to ${args[0]}` : "full again"} (${args[1]})`, args[0] ? "bad" : ""];
    case "/file/warning":
    case "/grid/fault":
    case "/crowded":
      return [`${args[0]}: ${args[1]}`, "bad"];
    case "/record/lost":
      return [`The recording ${args[0]} has lost ${args[1]} frames`, "bad"];
    case "/record/continued":
      return [`The recording ${args[0]} can't grow further: it continues in ${args[2]}`, ""];
    case "/record/failed":
      return [`The recording ${args[0]} has ended: ${args[1]}`, "bad"];
    case "/fail":
      return [`${args[0]}: ${args[1]}`, "bad"];
    default:
      return ["", "quiet"];
  }
}
