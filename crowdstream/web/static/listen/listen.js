// The audio stream's controls, and the first touch, which starts it.

import { secureSteps } from "./secure.js";
import { Sound } from "./sound.js";
import { Twice } from "./twice.js";

const MEMORY = "crowdstream.listen"; // in localStorage: {muted, bus, volume, format}
// Browsers accept different ones of these as a user gesture, depending on the kind of pointer.
const TOUCHES = ["pointerdown", "pointerup", "touchend", "click", "keydown"];

const STATES = {
  off: "off",
  blocked: "touch the page to start",
  connecting: "connecting",
  buffering: "buffering",
  playing: "playing",
};
const BUSES = { master: "Master", cue: "Cue" };
const FORMATS = { pcm16: "PCM, 16 bit", opus: "Opus" };
const BUSY = 0.4; // s of a stall of this computer, from which the page reports it
const BUSY_TEXT = "This computer is too busy for the audio stream; the connection is not the cause. "
  + "Close other tabs and programs.";
const MODES = {
  scheduled: "This page was opened without HTTPS, so the browser provides no audio thread: the "
    + "latency is 200 ms higher, and a busy page interrupts the sound.",
};

// Build the controls in `element`. Returns the `Sound`, whose `reading` contains the latency.
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
  // The first touch anywhere starts the stream; the button has its own handler. A touch also
  // resumes it after the browser has interrupted it, for example for a call. Capture: the event
  // must arrive even if the page stops its propagation.
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
  const notice = make("p", { className: "listen-note", hidden: true });
  const twice = make("div", { className: "listen-twice", hidden: true });
  twice.setAttribute("role", "alert");
  const twiceText = make("span");
  const others = make("button", { type: "button", className: "button", textContent: "Mute other tabs" });
  twice.append(twiceText, others);
  const steps = secureSteps(location);
  element.append(
    twice, sheet, button, state, labelled("Volume", volume), labelled("Bus", bus),
    labelled("Format", format), facts, notice, note, steps,
  );
  format.parentElement.hidden = true;
  return { button, state, volume, bus, format, values, note, notice, steps, twice, twiceText, others };
}

// Gaps by cause: this computer or the network.
function gapsText({ gaps, here }) {
  if (!here) return String(gaps);
  const rest = gaps - here;
  return `${gaps} (${here} by this computer${rest ? `, ${rest} by the network` : ""})`;
}

function showTwice(ui, others) {
  ui.twice.hidden = others === 0;
  set(ui.twiceText, others === 0 ? ""
    : `${others === 1 ? "Another tab is playing" : `${others} other tabs are playing`} this stream, too: `
      + "you hear it twice, with an offset.");
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
  ui.notice.hidden = sound.notice === "";
  set(ui.notice, sound.notice);
  const { reading } = sound;
  if (reading === null) return;
  offerOpus(ui, sound, reading.formats);
  const { latency } = reading;
  set(ui.values.latency, latency === null ? "–" : `${Math.round(1000 * latency)} ms`);
  set(ui.values.now, `${reading.format}, ${Math.round(reading.bits)} kbit/s`);
  set(ui.values.gaps, gapsText(reading));
  if (sound.notice === "" && reading.held > BUSY) {
    ui.notice.hidden = false;
    set(ui.notice, BUSY_TEXT);
  }
}

// Offer Opus if the server encodes it and this browser decodes it.
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

// The stored choices; without localStorage, the defaults.
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
    // No localStorage: the choices are lost.
  }
}

function pick(memory) {
  const known = {};
  if (memory.bus in BUSES) known.bus = memory.bus;
  if (memory.format in FORMATS) known.format = memory.format;
  if (memory.volume >= 0 && memory.volume <= 1) known.volume = memory.volume;
  return known;
}
