// The live inputs: a channel strip each, with talkover and effects. Loaded only where there are any.

import { h, setText } from "../controls/dom.js";
import { toggle } from "../controls/button.js";
import { knob } from "../controls/knob.js";
import { meter } from "../controls/meter.js";
import { dbText, decibelKnob, fader, linear, unitText } from "../controls/values.js";
import { argument } from "../table.js";
import { chain } from "../decks/chain.js";
import { filterText } from "../decks/stems.js";

const BANDS = ["low", "mid", "high"];
const STATES = {
  searching: "No device", waiting: "Starting", playing: "", muted: "Muted",
  feedback: "Muted: it carries the output",
};

/** The card of an input: its element, and a function that shows its state. */
export function makeCard(live, number) {
  const name = (what) => `Input ${number}: ${what}`;
  const order = (path, ...values) => live.order(`/input/${number}${path}`, ...values);
  const place = "/input/{input}";
  const eq = argument(`${place}/eq`, "low");
  const gain = knob({
    label: name("gain"), name: "GAIN", initial: 1, law: fader(argument(`${place}/gain`, "gain").high),
    text: dbText, send: (value) => order("/gain", value),
  });
  const bands = BANDS.map((band) => {
    const dial = knob({
      label: name(`EQ ${band}`), name: band.toUpperCase(), initial: 1, middle: 0.5,
      law: decibelKnob(eq.low, eq.high), text: dbText, send: (value) => order(`/eq/${band}`, value),
    });
    const kill = toggle("×", name(`kill ${band}`), (on) => order("/kill", band, on ? 1 : 0), {
      class: "kill",
    });
    return { dial, kill, cell: h("div", { class: "band" }, dial.root, kill) };
  });
  const filter = knob({
    label: name("filter"), name: "FILTER", initial: 0, middle: 0.5, law: linear(-1, 1), text: filterText,
    class: "accent", send: (value) => order("/filter", value),
  });
  const level = knob({
    label: name("level"), name: "LEVEL", initial: 1, law: fader(argument(`${place}/level`, "gain").high),
    text: dbText, send: (value) => order("/level", value),
  });
  const talkover = ["threshold", "depth"].map((what) => {
    const { low, high, unit } = argument(`${place}/talkover/${what}`, "decibels");
    return {
      what,
      dial: knob({
        label: name(`talkover ${what}`), name: NAMES[what], law: linear(low, high), step: 1, initial: low,
        text: (value) => unitText(value, unit), class: "small",
        send: (value) => order(`/talkover/${what}`, value),
      }),
    };
  });
  const mute = toggle("Mute", name("mute"), (on) => order("/mute", on ? 1 : 0), {
    "data-action": `input-mute-${number}`,
  });
  const talk = toggle("Talk", name("talkover: duck the music while somebody talks"),
    (on) => order("/talkover", on ? 1 : 0), { "data-action": `input-talk-${number}` });
  const listen = toggle("icon:headphones", name("headphones (PFL)"), (on) => order("/pfl", on ? 1 : 0), {
    class: "pfl", "data-action": `input-pfl-${number}`,
  });
  const guard = toggle("Guard", name("guard: mute it when it carries the output"),
    (on) => order("/guard", on ? 1 : 0), { "data-action": `input-guard-${number}` });
  const bar = meter(name("meter"), 1);
  const text = h("p", { class: "input-state", role: "status" });
  const root = h(
    "section", { class: "bus input", "aria-labelledby": `input-${number}` },
    h("h3", { id: `input-${number}` }, `Input ${number}`), text,
    h("div", { class: "input-strip" }, bar.root, gain.root, ...[...bands].reverse().map(({ cell }) => cell),
      filter.root, level.root),
    h("div", { class: "input-strip" }, mute, listen, talk, ...talkover.map(({ dial }) => dial.root), guard),
    chain(live, {
      base: `/input/${number}`, name: `Input ${number} effects`, key: "inputs",
      pick: (inputs) => (inputs[number - 1] || {}).fx,
    }),
  );
  live.onNow((now) => {
    const [peak, rms] = now.meters[`input${number}`] || [];
    bar.set([peak], [rms]);
  });
  function set(state) {
    const reason = state.state === "searching" ? state.reason : "";
    const parts = [STATES[state.state], reason || state.device, state.talking ? "ducks the music" : ""];
    setText(text, parts.filter(Boolean).join(" · "));
    root.dataset.state = state.state;
    gain.set(state.gain);
    bands.forEach(({ dial, kill, cell }, at) => {
      const killed = Boolean(state.kill[at]);
      if (!killed) dial.set(state.eq[at]);
      kill.set(killed);
      cell.classList.toggle("killed", killed);
    });
    filter.set(state.filter);
    level.set(state.level);
    mute.set(Boolean(state.mute));
    listen.set(Boolean(state.listen));
    guard.set(Boolean(state.guard));
    talk.set(Boolean(state.talkover.on));
    for (const { what, dial } of talkover) dial.set(state.talkover[what]);
  }
  return { root, set };
}

const NAMES = { threshold: "THRESH", depth: "DEPTH" };
