// Rooms in step: what this room does, and a line for each room that follows it.

import { h, setText } from "../controls/dom.js";

const STATES = {
  starting: "Starting", failed: "Not available", leading: "Leads", searching: "Searches for the leader",
  approaching: "On the way into step", "in step": "In step",
};

const milliseconds = (value) => `${Math.abs(value).toFixed(1)} ms ${value < 0 ? "ahead" : "behind"}`;

/** A card that shows the rooms. */
export function makeCard() {
  const line = h("p", { class: "note" });
  const list = h("ul", {});
  const root = h(
    "section", { class: "bus rooms-in-step", "aria-labelledby": "rooms-title" },
    h("h3", { id: "rooms-title" }, "Rooms"), line, list,
  );
  function set({ role, state, address, reason, deviation_ms: deviation, rooms }) {
    const parts = [STATES[state], role === "follower" && address];
    if (state === "in step" || state === "approaching") parts.push(milliseconds(deviation));
    setText(line, [...parts, reason].filter(Boolean).join(" · "));
    list.replaceChildren(...rooms.map((room) => h(
      "li", {}, `${room.name} · ${room.in_step ? "in step" : "not in step"} · ${milliseconds(room.deviation_ms)}`,
    )));
  }
  return { root, set };
}
