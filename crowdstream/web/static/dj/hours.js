// The opening hours: what the schedule says, and an override until its next change.

import { h, select, setText } from "../controls/dom.js";

const WORDS = [["auto", "As scheduled"], ["open", "Open"], ["closed", "Closed"]];
const DAY_SECONDS = 86400;

/** The card of the opening hours; it is hidden while the server has no schedule. */
export function makeHours(live) {
  const now = h("strong", { class: "hours-now" });
  const next = h("span", { class: "hours-next" });
  const limits = h("span", { class: "hours-limits" });
  const choice = select("Opening hours", WORDS, (word) => live.order("/schedule/override", word));
  const element = h("section", { class: "card hours", "aria-label": "Opening hours" },
    now, next, limits, choice);
  live.on("schedule", (schedule) => {
    element.hidden = !schedule.there;
    if (!schedule.there) return;
    setText(now, schedule.open ? "Open" : "Closed");
    setText(next, nextText(schedule));
    setText(limits, limitText(schedule));
    const chosen = schedule.override ? (schedule.open ? "open" : "closed") : "auto";
    if (document.activeElement !== choice) choice.value = chosen;
  });
  return element;
}

function nextText({ known, next, opens, override }) {
  if (!known) return "The clock of the server is not set yet: open, at the lowest loudness limits";
  if (!next) return "No change within a year";
  const at = new Date(1000 * next);
  const near = Math.abs(next - Date.now() / 1000) < DAY_SECONDS;
  const day = near ? {} : { weekday: "short", day: "numeric", month: "short" };
  const text = at.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
  return `${override ? "overridden until the change at" : opens ? "opens at" : "closes at"} ${text}`;
}

function limitText({ short_term: short, average }) {
  const parts = [];
  if (short !== null) parts.push(`${short} LUFS (3 s)`);
  if (average !== null) parts.push(`${average} LUFS (15 min)`);
  return parts.length ? `limit ${parts.join(", ")}` : "";
}
