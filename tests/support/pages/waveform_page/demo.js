// A page with two waveforms; its data comes from the test's server.
import { Waveform } from "/page/waveform/waveform.js";

const RATE = 44100;
const picture = new Map();
const watchers = new Map();
const nows = new Set();
const events = new EventTarget();
let offset = 0; // server's clock minus the page's
let latest = null;

const socket = new WebSocket(`ws://${location.host}/live`);

const live = {
  hello: { rate: RATE, write: true },
  events,
  get: (key) => picture.get(key),
  on(key, fn) {
    if (!watchers.has(key)) watchers.set(key, new Set());
    watchers.get(key).add(fn);
    if (picture.has(key)) fn(picture.get(key));
    return () => watchers.get(key).delete(fn);
  },
  onNow(fn) {
    nows.add(fn);
    return () => nows.delete(fn);
  },
  clock: () => performance.now() / 1000 + offset,
  playhead(index) {
    if (!latest) return { frame: 0, speed: 0, playing: false };
    const [position, speed, playing] = latest.decks[index];
    const passed = live.clock() - latest.at - latest.latency;
    return { frame: position + speed * RATE * passed, speed, playing: Boolean(playing) };
  },
  do(address, ...args) {
    socket.send(JSON.stringify({ do: [1, address, ...args] }));
    return Promise.resolve([]);
  },
};

socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.now) {
    if (!latest) offset = message.now.t - performance.now() / 1000;
    latest = message.now;
    for (const fn of nows) fn(latest);
  }
  if (message.wave) events.dispatchEvent(new CustomEvent("wave", { detail: message.wave }));
  for (const [key, value] of Object.entries(message.picture || {})) {
    picture.set(key, value);
    if (key === "deck.A" && value.number && !window.loadedAt) window.loadedAt = performance.now();
    for (const fn of watchers.get(key) || []) fn(value);
  }
};

window.live = live;
window.waveforms = ["A", "B"].map((letter) => new Waveform(document.getElementById(`deck-${letter}`), letter, live));

// The time at which the first part of close-up or overview is drawn, for measurements.
function watch(time) {
  const { peaks } = window.waveforms[0];
  if (window.loadedAt && !window.firstTile && [...peaks._tiles.values()].some((tile) => tile.data)) {
    window.firstTile = time;
    window.readyThen = peaks.ready;
  }
  requestAnimationFrame(watch);
}
requestAnimationFrame(watch);
