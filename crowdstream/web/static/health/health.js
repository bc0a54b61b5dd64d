// The health panel: gaps and their causes, render times, the engine, memory and processes.

import { h, select, setAttribute, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";
import { guard } from "../controls/guard.js";
import { stopsDecks } from "../decks/playing.js";
import { argument, knows } from "../table.js";
import { drawHistogram } from "./histogram.js";
import { makeLog } from "./log.js";

const SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096];
const SILENCE = "up to 100 ms of silence";

export function makeHealth(live) {
  const cards = {
    gaps: card("Audio gaps", GAPS),
    render: card("Rendering", RENDER),
    engine: card("Engine", ENGINE),
    orders: card("Commands", ORDERS),
    memory: card("Track memory", MEMORY),
  };
  const chart = h("canvas", { class: "histogram", role: "img", "aria-label": "Render times" });
  cards.render.element.append(chart);
  const processes = h("tbody");
  const processCard = section("Processes", h("table", { class: "processes" },
    h("thead", {}, h("tr", {}, ...["Process", "CPU", "Memory"].map((text) =>
      h("th", { scope: "col" }, text)))), processes));
  if (knows("/buffer_size")) cards.engine.element.append(bufferSize(live));
  cards.engine.element.append(quality(live));
  const log = makeLog(live);
  // Loaded with the first of them, or to start one: most servers have none.
  const broadcasts = h("div", {});
  const showBroadcasts = async (...given) => (await import("../broadcast/broadcasts.js")).show(live, broadcasts, ...given);
  if (knows("/broadcast/start")) broadcasts.append(button("Start…", "Start a broadcast", () => showBroadcasts(true), { "data-action": "broadcast" }));
  live.on("broadcasts", (all) => all.length && showBroadcasts());
  const waiting = h("div", { class: "waiting-commands" }, h("p", { class: "hint" }, "No scheduled commands."));
  live.on("waiting", async ({ count }) => count && (await import("../waiting/waiting.js")).show(live, waiting));
  const element = h(
    "div", { class: "health" },
    section("Broadcasts", broadcasts, "wide"), cards.gaps.element, section("Event log", log.element, "wide"), cards.render.element,
    cards.engine.element, cards.orders.element,
    section("Scheduled commands", waiting, "wide"), cards.memory.element, processCard,
  );
  let before = null;

  function draw() {
    const readings = { ...live.get("health"), ...live.get("readings") };
    if (!readings.buffer_size) return;
    readings.osc_rate = rate(readings.messages);
    for (const one of Object.values(cards)) one.draw(readings);
    drawHistogram(chart, readings.histogram || [], readings.budget_ms);
    processes.replaceChildren(...Object.entries(readings.processes || {}).map(([name, one]) =>
      h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, `${one.cpu.toFixed(0)} %`),
        h("td", {}, `${one.mb.toFixed(0)} MB`))));
  }
  // Messages per second since the previous reading.
  function rate(messages) {
    const now = performance.now() / 1000;
    if (!before || messages < before.messages) before = { messages, now, rate: 0 };
    else if (now - before.now >= 0.9) {
      before = { messages, now, rate: (messages - before.messages) / (now - before.now) };
    }
    return before.rate;
  }
  live.events.addEventListener("health", draw);
  live.on("health", draw);
  return { element, draw };
}

/** A row: name, text from the readings, and whether it needs attention. */
const GAPS = [
  ["Underruns", (r) => `${r.underruns}`, (r) => r.underruns > 0],
  ["Late callback", (r) => `${r.underruns_late_callback}`, (r) => r.underruns_late_callback > 0],
  ["Slow render", (r) => `${r.underruns_slow_render}`, (r) => r.underruns_slow_render > 0],
  ["Device", (r) => `${r.underruns_device}`, (r) => r.underruns_device > 0],
  ["Engine failure", (r) => `${r.underruns_engine}`, (r) => r.underruns_engine > 0],
  ["Missing pages", (r) => `${r.missing_pages}`, (r) => r.missing_pages > 0],
];
const RENDER = [
  ["Load", (r) => `${Math.round(r.load_percent || 0)} %`, (r) => r.load_percent > 70],
  ["Median, p99", (r) => `${ms(r.render_p50_ms)}, ${ms(r.render_p99_ms)}`],
  ["Longest", (r) => ms(r.render_max_ms), (r) => r.render_max_ms > r.budget_ms],
  ["Block duration", (r) => ms(r.budget_ms)],
  ["Over budget", (r) => `${r.over_budget}`, (r) => r.over_budget > 0],
];
const ENGINE = [
  ["Device", (r) => `${r.device || "–"}`, (r) => Number(r.device_lost) > 0],
  ["Driver", (r) => `${r.driver}, ${r.sample_rate} Hz`],
  ["Latency", (r) => ms(r.latency_ms)],
  ["Buffer size", (r) => `${r.buffer_size} frames`],
  ["Standby", (r) => `${r.standby ?? "–"}`],
  ["JACK", (r) => (r.jack === "running" ? `${r.jack_connected} connections` : r.jack || "–"), (r) => r.jack === "searching"],
  ["Takeovers", (r) => `${r.takeovers ?? 0}`, (r) => r.takeovers > 0],
  ["Priority", (r) => (r.realtime > 0 ? "real-time" : "normal"), (r) => r.realtime < 1], // -1: refused
];
const ORDERS = [
  ["OSC rate", (r) => `${r.osc_rate.toFixed(r.osc_rate < 10 ? 1 : 0)} /s`],
  ["Executed", (r) => `${r.messages}`],
  ["Failed", (r) => `${r.failed}`, (r) => r.failed > 0],
  ["Late", (r) => `${r.late_commands}`, (r) => r.late_commands > 0],
  ["Lost", (r) => `${r.lost}`, (r) => r.lost > 0],
  ["Scheduled", (r) => `${r.waiting}`],
];
const MEMORY = [
  ["Filled", (r) => `${mb(r.pages_used_mb)} / ${mb(r.pages_total_mb)}`],
  ["Reserved", (r) => mb(r.pages_reserved_mb)],
  ["Hit rate", (r) => `${Math.round(100 * (r.pages_hit_rate ?? 1))} %`],
  ["Slowest read", (r) => ms(r.read_max_ms)],
  ["Stalls", (r) => `${r.stalls ?? 0}`, (r) => r.stalls > 0],
  ["Restarts", (r) => `loader ${r.restarts_loader ?? 0}, control ${r.restarts_control ?? 0}`,
    (r) => r.restarts_loader > 0 || r.restarts_control > 0],
];

function ms(value) {
  if (!Number.isFinite(value)) return "–";
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}

function mb(value) {
  if (!Number.isFinite(value)) return "–";
  return value >= 10000 ? `${(value / 1000).toFixed(1)} GB` : `${value.toFixed(0)} MB`;
}

function section(title, body, kind = "") {
  return h("section", { class: `card ${kind}` }, h("h3", {}, title), body);
}

function card(title, rows) {
  const values = rows.map(() => h("dd"));
  const list = h("dl", {}, ...rows.flatMap(([name], at) => [h("dt", {}, name), values[at]]));
  const element = section(title, list);
  function draw(readings) {
    rows.forEach(([, text, odd], at) => {
      setText(values[at], text(readings));
      setAttribute(values[at], "title", values[at].textContent);
      values[at].classList.toggle("odd", Boolean(odd && odd(readings)));
    });
  }
  return { element, draw };
}

// The hint describes the effect of the change before it is made.
function bufferSize(live) {
  const name = argument("/buffer_size", "frames");
  const fits = SIZES.filter((size) => size >= (name.low ?? 0) && size <= (name.high ?? Infinity));
  const hint = h("p", { class: "hint", id: "buffer-hint" });
  const choice = select("Buffer size in frames", fits.map((size) => [size, `${size} frames`]), draw, {
    "aria-describedby": "buffer-hint",
  });
  const change = button("Change", "Change the buffer size", null, { "data-action": "buffer-size" });
  const changeGuard = guard(change, {
    label: () => "Change the buffer size",
    stops: () => {
      const decks = stopsDecks(live, "ABCD");
      return decks && `${decks} for up to 100 ms`;
    },
    act: () => live.order("/buffer_size", Number(choice.value)),
  });
  for (const letter of "ABCD") live.on(`deck.${letter}`, changeGuard.refresh);
  let current = 0;
  function draw() {
    const size = Number(choice.value);
    const long = ((1000 * size) / ((live.hello && live.hello.rate) || 44100)).toFixed(1);
    change.disabled = size === current;
    setText(hint, size === current ? `Current block duration: ${long} ms.`
      : `The block duration becomes ${long} ms. The audio device is reopened: ${SILENCE}.`);
  }
  live.events.addEventListener("health", ({ detail }) => {
    if (detail.buffer_size === current) return;
    current = detail.buffer_size;
    if (!fits.includes(current)) choice.append(h("option", { value: current }, `${current} frames`));
    choice.value = String(current);
    draw();
  });
  return h("div", { class: "buffer-size" }, choice, change, hint);
}

function quality(live) {
  const words = [["auto", "Load shedding: automatic"], ["0", "Off: full quality"], ["1", "Bypass optional FX"],
    ["2", "Also bypass key lock"], ["3", "Also simpler interpolation"]];
  const choice = select("Load shedding", words, (word) =>
    live.order("/quality", word === "auto" ? word : Number(word)));
  live.on("quality", (value) => {
    if (document.activeElement !== choice) choice.value = String(value.asked);
  });
  return h("div", { class: "buffer-size" }, choice);
}
