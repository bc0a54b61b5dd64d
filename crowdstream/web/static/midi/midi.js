// The MIDI ports in use: a line each, and the command that waits for a control. The button makes the
// controllers of the browser's machine (WebMIDI) available to the server's mappings.

import { h, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";

const TURN = 20; // ms between two messages of the same control: the latest position counts

/** A card that lists the ports. */
export function makeCard(live) {
  const list = h("ul", {});
  const note = h("p", { class: "note", role: "status" });
  const here = navigator.requestMIDIAccess
    ? button("Controllers of this machine", "Use the MIDI controllers of this machine", start, { "data-action": "midi" })
    : null;
  const root = h(
    "section", { class: "bus midi-ports", "aria-labelledby": "midi-title" },
    h("h3", { id: "midi-title" }, "MIDI"), list, note, here,
  );
  let access = null;
  let leds = {};
  const shown = new Map(); // value of each LED by output and place
  function text({ role, wanted, port, reason }, locked) {
    const lock = role === "follow" && port ? (locked ? "locked" : "not locked") : "";
    return [role, port || wanted, lock, reason].filter(Boolean).join(" · ");
  }
  async function start() {
    try {
      access = await navigator.requestMIDIAccess();
    } catch (error) {
      setText(note, `The browser refused: ${error.message}`);
      return;
    }
    here.disabled = true;
    access.onstatechange = ({ port }) => {
      if (port.state === "disconnected") forget(port);
      attach();
    };
    // A server that has restarted knows no controllers of pages.
    live.events.addEventListener("hello", () => {
      for (const input of access.inputs.values()) live.do("/midi/attach", input.name).catch(() => {});
    });
    attach();
  }
  function attach() {
    for (const input of access.inputs.values()) {
      if (input.onmidimessage) continue;
      input.onmidimessage = coalesced((bytes) => live.order("/midi/message", input.name, ...bytes));
      live.order("/midi/attach", input.name);
    }
    light();
  }
  // A controller that returns has dark LEDs, and its faders may be elsewhere.
  function forget(port) {
    port.onmidimessage = null;
    for (const key of [...shown.keys()]) if (key.startsWith(`${port.id} `)) shown.delete(key);
  }
  function light() {
    if (!access) return;
    for (const output of access.outputs.values()) {
      for (const [part, values] of Object.entries(leds)) {
        if (!output.name.toLowerCase().includes(part.toLowerCase())) continue;
        for (const [place, value] of Object.entries(values)) {
          const key = `${output.id} ${place}`;
          if (shown.get(key) === value) continue;
          shown.set(key, value);
          output.send([...place.split(" ").map(Number), value]);
        }
      }
    }
  }
  function set(state) {
    const { ports, learning, locked } = state;
    while (list.children.length > ports.length) list.lastChild.remove();
    ports.forEach((one, at) => {
      if (!list.children[at]) list.append(h("li", {}));
      list.children[at].dataset.state = one.state;
      setText(list.children[at], text(one, locked));
    });
    setText(note, learning ? `Move or press a control for ${learning}` : "");
    leds = state.leds;
    light();
  }
  return { root, set };
}

// Notes are sent at once. Of a control change that moves, the latest value is sent at most every TURN.
function coalesced(send) {
  const held = new Map();
  return ({ data }) => {
    const bytes = [...data];
    if (bytes.length !== 3 || bytes[0] < 0x80 || bytes[0] > 0xbf) return;
    const key = `${bytes[0]} ${bytes[1]}`;
    if ((bytes[0] & 0xf0) !== 0xb0) send(bytes);
    else if (held.has(key)) held.set(key, bytes);
    else {
      held.set(key, null);
      send(bytes);
      setTimeout(function next() {
        const latest = held.get(key);
        if (!latest) {
          held.delete(key);
          return;
        }
        held.set(key, null);
        send(latest);
        setTimeout(next, TURN);
      }, TURN);
    }
  };
}
