// Ableton Link, below the clock's settings. Loaded when these are opened for the first time.

import { h, select, setText } from "../controls/dom.js";
import { toggle } from "../controls/button.js";

const MODES = [["off", "Link off"], ["follower", "Link: follow"], ["leader", "Link: lead"], ["peer", "Link: peer"]];
const STATES = {
  off: "", joining: "Joining", failed: "Not available", alone: "No other peers",
  approaching: "Approaching the session", locked: "In phase", leading: "Leading",
  contested: "Another peer changes the tempo", unplayable: "The session's tempo can't be played",
};

/** Add the settings of Link to a list, and its state. */
export function addLink(live, list) {
  const mode = select("Ableton Link", MODES, (value) => {
    if (value !== "off") live.order("/link/mode", value);
    live.order("/link/enable", value === "off" ? 0 : 1);
  }, { "data-action": "link-mode" });
  let decks = "ABCD";
  const startStop = toggle("Start/stop", "Share starts and stops with the Link session",
    (on) => live.order("/link/startstop", on ? 1 : 0, decks), { "data-action": "link-startstop" });
  const state = h("p", { class: "link-session", role: "status" });
  live.on("link", (link) => {
    decks = link.decks;
    if (document.activeElement !== mode) mode.value = link.enabled ? link.mode : "off";
    startStop.set(link.start_stop);
    const peers = link.peers ? `, ${link.peers} other peer${link.peers > 1 ? "s" : ""}, ${link.bpm} BPM` : "";
    setText(state, link.reason ? `${STATES[link.state]}: ${link.reason}` : STATES[link.state] + peers);
  });
  list.append(mode, startStop, state);
}
