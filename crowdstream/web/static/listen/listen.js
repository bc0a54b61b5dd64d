// Listening in: what the page shows of it, and the first touch that starts it.

import { secureSteps } from "./secure.js";
import { Sound } from "./sound.js";
import { Twice } from "./twice.js";

const MEMORY = "crowdstream.listen"; // in localStorage: {muted, bus, volume, format}
// Browsers take different ones of these for a wish of the user's, by kind of pointer.
const TOUCHES = ["pointerdown", "pointerup", "touchend", "click", "keydown"];

const STATES = {
  off: "off",
  blocked: "touch the page to hear it",
  connecting: "connecting",
  buffering: "a moment",
  playing: "playing",
};
const BUSES = { master: "Master", cue: "Cue" };
const FORMATS = { pcm16: "PCM, 16 bit", opus: "Opus" };
const BUSY = 0.4; // s for which this computer was held up, from which on it is said
const BUSY_TEXT = "This computer is too busy for the sound; the connection is not the reason. "
  + "Close other tabs and programs.";
const MODES = {
  scheduled: "This page was opened without HTTPS, so the browser gives it no thread for sound: the "
    + "sound comes 200 ms later, and a very busy page interrupts it.",
};

// Build the controls in `element`. Returns the `Sound`, whose `reading` has the latency.
export function mountListen(element, _live) {
  const memory = recall();
  const sound = new Sound(listenUrl);
  Object.assign(sound, pick(memory));
  const ui = build(element, memory);

  let muted = memory.muted === true;
  const remember = () => store({
    muted, bus: sound.bus, format: sound.format, volume: sound.volume,
  });
  ui.button.addEventListener("click", () => {
    muted = sound.wanted && sound.state !== "blocked";
    if (muted) sound.stop();
    else sound.start();
    remember();
  });
  ui.volume.addEventListener("input", () => {
    sound.setVolume(Number(ui.volume.value) / 100);
    remember();
  });
  ui.bus.addEventListener("change", () => {
    sound.choose({ bus: ui.bus.value });
    remember();
  });
  ui.format.addEventListener("change", () => {
    sound.choose({ format: ui.format.value });
    remember();
  });
  // The first touch starts it, wherever it is; the button does so by itself. The same where a
  // browser took the sound away, as when a call comes in. Capture: also where the page keeps the
  // event for itself.
  const touch = (event) => {
    if (!muted && !sound.allowed && !event.composedPath().includes(ui.button)) sound.start();
  };
  for (const name of TOUCHES) addEventListener(name, touch, { capture: true, passive: true });
  const twice = new Twice();
  sound.addEventListener("change", () => {
    twice.set(sound.wanted && sound.state !== "blocked");
    show(ui, sound);
  });
  twice.addEventListener("change", () => showTwice(ui, twice.others));
  twice.stop = () => {
    muted = true;
    sound.stop();
    remember();
  };
  ui.others.addEventListener("click", () => twice.silence());
  show(ui, sound);
  return sound;
}

function listenUrl(bus, format) {
  const url = new URL("/listen", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("bus", bus);
  url.searchParams.set("format", format);
  return url.href;
}

function build(element, memory) {
  element.classList.add("listen");
  const sheet = make("link", { rel: "stylesheet", href: new URL("listen.css", import.meta.url).href });
  const button = make("button", { type: "button", className: "listen-button", textContent: "Listen" });
  const state = make("span", { className: "listen-state" });
  state.setAttribute("role", "status");
  const volume = make("input", { type: "range", min: "0", max: "100" });
  volume.value = String(Math.round(100 * (memory.volume ?? 1)));
  const bus = choice(BUSES, memory.bus);
  const format = choice({ pcm16: FORMATS.pcm16 }, "pcm16");
  const facts = make("dl", { className: "listen-facts" });
  const values = {};
  for (const [name, title] of [["latency", "Latency"], ["now", "Receiving"], ["gaps", "Gaps"]]) {
    values[name] = make("dd", { textContent: "–" });
    const pair = make("div");
    pair.append(make("dt", { textContent: title }), values[name]);
    facts.append(pair);
  }
  const note = make("p", { className: "listen-note", hidden: true });
  const said = make("p", { className: "listen-note", hidden: true });
  const twice = make("div", { className: "listen-twice", hidden: true });
  twice.setAttribute("role", "alert");
  const twiceText = make("span");
  const others = make("button", { type: "button", className: "button", textContent: "Silence the others" });
  twice.append(twiceText, others);
  const steps = secureSteps(location);
  element.append(
    twice, sheet, button, state, labelled("Volume", volume), labelled("Bus", bus),
    labelled("Format", format), facts, said, note, steps,
  );
  format.parentElement.hidden = true;
  return { button, state, volume, bus, format, values, note, said, steps, twice, twiceText, others };
}

// Whose fault gaps are: a computer that is too busy is not a slow connection.
function gapsText({ gaps, here }) {
  if (!here) return String(gaps);
  const rest = gaps - here;
  return `${gaps} (${here} by this computer${rest ? `, ${rest} on the way` : ""})`;
}

function showTwice(ui, others) {
  ui.twice.hidden = others === 0;
  set(ui.twiceText, others === 0 ? ""
    : `${others === 1 ? "Another tab plays" : `${others} other tabs play`} this sound, too: `
      + "it is heard twice, one behind the other.");
}

function show(ui, sound) {
  const on = sound.wanted && sound.state !== "blocked";
  ui.button.setAttribute("aria-pressed", String(on));
  ui.button.textContent = on ? "Listening" : "Listen";
  set(ui.state, STATES[sound.state]);
  ui.bus.value = sound.bus;
  ui.note.hidden = MODES[sound.mode] === undefined;
  set(ui.note, MODES[sound.mode] ?? "");
  ui.steps.hidden = isSecureContext;
  ui.said.hidden = sound.said === "";
  set(ui.said, sound.said);
  const { reading } = sound;
  if (reading === null) return;
  offerOpus(ui, sound, reading.formats);
  const { latency } = reading;
  set(ui.values.latency, latency === null ? "–" : `${Math.round(1000 * latency)} ms`);
  set(ui.values.now, `${reading.format}, ${Math.round(reading.bits)} kbit/s`);
  set(ui.values.gaps, gapsText(reading));
  if (sound.said === "" && reading.held > BUSY) {
    ui.said.hidden = false;
    set(ui.said, BUSY_TEXT);
  }
}

// Opus is for choice where the server encodes it and this browser decodes it.
function offerOpus(ui, sound, formats) {
  if (ui.format.length > 1 || !formats.includes("opus") || !sound.opus) return;
  ui.format.append(make("option", { value: "opus", textContent: FORMATS.opus }));
  ui.format.value = sound.format;
  ui.format.parentElement.hidden = false;
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

function choice(names, chosen) {
  const select = make("select");
  for (const [value, textContent] of Object.entries(names)) {
    select.append(make("option", { value, textContent }));
  }
  if (chosen in names) select.value = chosen;
  return select;
}

function labelled(text, control) {
  const label = make("label");
  label.append(make("span", { textContent: text }), control);
  return label;
}

// What was chosen earlier; where the browser keeps nothing, the defaults.
function recall() {
  try {
    return JSON.parse(localStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {};
  }
}

function store(memory) {
  try {
    localStorage.setItem(MEMORY, JSON.stringify(memory));
  } catch {
    // Nothing is kept in this browser.
  }
}

function pick(memory) {
  const known = {};
  if (memory.bus in BUSES) known.bus = memory.bus;
  if (memory.format in FORMATS) known.format = memory.format;
  if (memory.volume >= 0 && memory.volume <= 1) known.volume = memory.volume;
  return known;
}
