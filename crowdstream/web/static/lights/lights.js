// The targets of lights: a line each, with its state and a button that removes it.

import { h, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";

const STATES = { searching: "Connecting", sending: "Receives", failed: "Receives nothing" };

/** A card that lists the targets. */
export function makeCard(live) {
  const list = h("ul", {});
  const lead = h("p", { class: "note" });
  const root = h(
    "section", { class: "bus light-targets", "aria-labelledby": "lights-title" },
    h("h3", { id: "lights-title" }, "Lights"), list, lead,
  );
  const lines = new Map();
  function line(target) {
    const text = h("span", {});
    const remove = button("×", `Remove ${target}`, () => live.order("/lights/remove", target), {
      class: "quiet",
    });
    return { text, root: h("li", {}, text, remove) };
  }
  function set({ lead_ms: milliseconds, outputs }) {
    setText(lead, milliseconds ? `${Math.abs(milliseconds)} ms ${milliseconds > 0 ? "ahead of" : "behind"} the sound` : "");
    for (const [target, one] of lines) {
      if (outputs.some((output) => output.target === target)) continue;
      one.root.remove();
      lines.delete(target);
    }
    for (const { target, state, reason } of outputs) {
      if (!lines.has(target)) {
        lines.set(target, line(target));
        list.append(lines.get(target).root);
      }
      const one = lines.get(target);
      one.root.dataset.state = state;
      setText(one.text, [target, STATES[state], reason].filter(Boolean).join(" · "));
    }
  }
  return { root, set };
}
