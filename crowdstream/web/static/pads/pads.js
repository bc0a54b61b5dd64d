// The pads panel: sixteen sample pads, and announcements over the ducked mix.

import { h, select, setAttribute, setText } from "../controls/dom.js";
import { button, toggle } from "../controls/button.js";
import { announce } from "../controls/announce.js";
import { knob } from "../controls/knob.js";
import { dbText, fader, timeText } from "../controls/values.js";
import { argument } from "../table.js";

const COUNT = 16;
const QUANTA = [[0, "Q off"], [0.25, "Q 1/4"], [0.5, "Q 1/2"], [1, "Q beat"], [4, "Q 4"], [8, "Q 8"],
  [16, "Q 16"], [32, "Q 32"], ["bar", "Q bar"], ["phrase", "Q phrase"]];
const OUTPUTS = { master: "Master", cue: "Cue", both: "Both" };

/** The panel's element. `chosen()`: the file or track that is selected in the library, or null. */
export function makePads(live, chosen) {
  const pads = Array.from({ length: COUNT }, (_, at) => pad(live, at, chosen));
  return h("div", { class: "pads-panel" }, announcements(live, chosen),
    h("div", { class: "sample-pads" }, ...pads));
}

function announcements(live, chosen) {
  const text = h("p", { class: "announcement", role: "status" });
  const skip = button("Skip", "Skip the current announcement", () => live.order("/announce/skip"));
  const clear = button("Clear", "End all announcements", () => live.order("/announce/clear"));
  const say = button("Announce", "Announce the file that is selected in the library", () => {
    const entry = selected(chosen);
    if (entry) live.order("/announce", entry.full);
  });
  live.on("announcements", ({ playing, waiting }) => {
    const queue = waiting.length ? `${waiting.length} waiting: ${waiting.join(", ")}` : "";
    setText(text, [playing ? `Announcement: ${playing}` : "", queue].filter(Boolean).join(" · ")
      || "No announcement");
    skip.disabled = !playing;
    clear.disabled = !playing && !waiting.length;
  });
  return h("section", { class: "announcements", "aria-label": "Announcements" },
    say, skip, clear, text,
    level(live, "/mix/announcements", "announcements_level", "Level of announcements", "ANN"),
    level(live, "/mix/samples", "samples_level", "Level of all sample pads", "PADS"));
}

// The knob of a level of the mixer.
function level(live, address, key, label, name) {
  const dial = knob({
    label, name, initial: 1, law: fader(argument(address, "gain").high), text: dbText, class: "small",
    send: (value) => live.order(address, value),
  });
  live.on("mixer", (mixer) => dial.set(mixer[key]));
  return dial.root;
}

// The entry that is selected in the library; without one, its absence is announced.
function selected(chosen) {
  const entry = chosen();
  if (!entry) announce("Select a file in the library first");
  return entry;
}

function pad(live, at, chosen) {
  const number = at + 1;
  const order = (name, ...values) => live.order(`/sample/${number}/${name}`, ...values);
  const name = h("span", { class: "pad-name" });
  const play = button(String(number), `Sample ${number}`, () => order("play"), {
    class: "sample-pad", "data-action": `sample-${number}`,
  });
  play.append(name);
  const stop = button("icon:stop", `Stop sample ${number}`, () => order("stop"), { class: "quiet" });
  const loop = toggle("icon:loop", `Loop sample ${number}`, (on) => order("loop", on ? 1 : 0));
  const load = button("icon:folder", `Load the selected file to sample ${number}`, () => {
    const entry = selected(chosen);
    if (entry) loadPad(live, number, entry);
  }, { class: "quiet", "data-action": `sample-load-${number}` });
  const eject = button("icon:eject", `Unload sample ${number}`, () => order("unload"), { class: "quiet" });
  const quantize = select(`Quantize sample ${number}`, QUANTA, (value) =>
    order("quantize", Number.isNaN(Number(value)) ? value : Number(value)));
  const output = select(`Output of sample ${number}`, Object.entries(OUTPUTS), (value) =>
    order("output", value));
  const dial = knob({
    label: `Level of sample ${number}`, name: "", initial: 1, text: dbText, class: "small",
    law: fader(argument("/sample/{sample}/level", "gain").high), send: (value) => order("level", value),
  });
  const element = h("section", { class: "sample", "data-pad": number, "aria-label": `Sample ${number}` },
    play, h("div", { class: "sample-controls" }, stop, loop, load, eject, dial.root),
    h("div", { class: "sample-controls" }, quantize, output));
  live.on("samples", (samples) => {
    const state = samples[at];
    const there = Boolean(state.track);
    const length = state.seconds ? `, ${timeText(state.seconds)}` : "";
    element.dataset.state = state.state;
    setText(name, state.track || "empty");
    const shown = there ? `${state.track}${length}${STATES[state.state] || ""}` : "empty";
    setAttribute(play, "aria-label", `Sample ${number}: ${shown}`);
    setAttribute(play, "title", there ? `Play ${state.track}${length}` : `Sample ${number} is empty`);
    play.disabled = !there || state.state === "loading";
    stop.disabled = state.state !== "playing";
    eject.disabled = !there;
    loop.set(Boolean(state.loop));
    dial.set(state.level);
    if (document.activeElement !== quantize) quantize.value = String(state.quantize || 0);
    if (document.activeElement !== output) output.value = state.output;
  });
  return element;
}

const STATES = { playing: ", playing", loading: ", loading" };

/** The name of the sample that a load to pad `number` would stop, or "". */
export function stopsPad(live, number) {
  const state = (live.get("samples") || [])[number - 1] || {};
  return state.state === "playing" ? state.track : "";
}

/** Load an entry of the library to pad `number`, and announce the end or the failure. */
export async function loadPad(live, number, entry) {
  const name = entry.title || entry.name;
  announce(`Loading ${name} to sample ${number} …`);
  try {
    await live.finish(`/sample/${number}/load`, entry.full);
    announce(`${name} is loaded to sample ${number}`);
  } catch (error) {
    announce(`${name} is not loaded to sample ${number}: ${error.message}`, "bad");
  }
}
