// The event log: the server's own, also from before this page was opened; gaps with cause and
// advice, other notifications, refused commands, lost connections.

import { h } from "../controls/dom.js";
import { announce } from "../controls/announce.js";

const MAX_LINES = 200;
const DAY_MS = 86400000;
const UNDERRUN_MS = 30000; // between two announcements of underruns
const REFUSED_MS = 2000; // within which the same refusal is listed once

const CAUSES = {
  late_callback: "the system woke the engine late",
  slow_render: "rendering took longer than the block",
  device: "the audio device or sound server was late",
  engine: "the engine crashed or hung",
  device_lost: "the audio device disappeared",
  missing_page: "part of a track was not in memory",
};

export function makeLog(live) {
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": "Event log, latest first" });
  const none = h("p", { class: "hint" }, "No events so far.");
  const element = h("div", {}, none, list);
  const known = new Set(); // gaps, and the server's events by their times

  function add(text, kind, when = new Date(), advice = "") {
    none.hidden = true;
    const item = h("li", { class: kind },
      h("time", { datetime: when.toISOString() }, clockTime(when)),
      h("span", { class: "log-text" }, text), advice ? h("span", { class: "log-advice" }, advice) : null);
    item.dataset.at = String(when.getTime());
    const after = [...list.children].find((one) => Number(one.dataset.at) <= when.getTime());
    list.insertBefore(item, after || null);
    while (list.children.length > MAX_LINES) list.lastChild.remove();
  }

  // Underruns may come every second: the list shows all, but only some are announced.
  let underrunAnnounced = -Infinity;
  function often(address) {
    if (address !== "/underrun") return false;
    const before = underrunAnnounced;
    if (performance.now() - before < UNDERRUN_MS) return true;
    underrunAnnounced = performance.now();
    return false;
  }

  function addKept({ time, level, text }) {
    if (known.has(time)) return;
    known.add(time);
    add(text, LEVELS[level] ?? "", new Date(time));
  }

  live.on("events", (events) => (events || []).forEach(addKept));
  live.events.addEventListener("event", ({ detail }) => {
    if (detail[0] === "/event") {
      const [, time, level, , text] = detail;
      addKept({ time, level, text });
      if (level !== "info") announce(text, LEVELS[level]);
      return;
    }
    const [text, kind] = eventText(detail);
    if (!text) return;
    add(text, kind);
    if (kind !== "quiet" && !often(detail[0])) announce(text, kind);
  });
  // A moving fader is refused 30 times a second while the server is away.
  const refused = new Map(); // times, by text
  live.events.addEventListener("refused", ({ detail }) => {
    const text = `${detail.address}: ${detail.reason}`;
    const now = performance.now();
    for (const [one, at] of refused) if (now - at > REFUSED_MS) refused.delete(one);
    if (!refused.has(text)) add(text, "bad");
    refused.set(text, now);
    announce(detail.reason, "bad");
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

const LEVELS = { info: "quiet", warning: "bad", error: "bad" };

// Events of earlier days show their date as well.
function clockTime(when) {
  const time = when.toLocaleTimeString([], { hour12: false });
  return Date.now() - when.getTime() < DAY_MS ? time : `${when.toLocaleDateString()} ${time}`;
}

const ENGINES = {
  device: "The audio device disappeared", found: "The audio device is back",
  resized: "The buffer size was changed",
};

// The text of a notification, and its severity. Those that the server's event log contains
// (/device, /restarted, /stall, /broken, failed recordings) have none here: they are followed by
// an /event.
function eventText([address, ...args]) {
  switch (address) {
    case "/underrun":
      return [`${args[1]} ${args[1] === 1 ? "underrun" : "underruns"}: ${CAUSES[args[0]] || args[0]}, ${Number(args[2]).toFixed(1)} ms`, "bad"];
    case "/ended":
      return [`${args[1]} has ended`, "quiet"];
    case "/engine":
      if (!ENGINES[args[0]]) return ["", "quiet"]; // it died or hung, which is in the event log
      return [`${ENGINES[args[0]]}: another engine took over, ${Number(args[1]).toFixed(1)} ms were lost`, "bad"];
    case "/buffer_size":
      return [`Changing the buffer size to ${args[0]} frames: up to ${Number(args[1]).toFixed(0)} ms of silence`, ""];
    case "/quality":
      return [`Load shedding ${args[0] ? `at level ${args[0]}` : "ended"} (${args[1]})`, args[0] ? "bad" : ""];
    case "/file/warning":
    case "/grid/fault":
    case "/crowded":
      return [`${args[0]}: ${args[1]}`, "bad"];
    case "/record/continued":
      return [`Recording ${args[0]} cannot grow further and continues in ${args[2]}`, ""];
    case "/fail":
      return [`${args[0]}: ${args[1]}`, "bad"];
    default:
      return ["", "quiet"];
  }
}
