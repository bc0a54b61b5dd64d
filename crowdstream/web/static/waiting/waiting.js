// Scheduled messages: content, time left, and a button that cancels them. Loaded with the first.

import { h, setText } from "../controls/dom.js";
import { button } from "../controls/button.js";

/** Show the scheduled commands in `place`. */
export function show(live, place) {
  if (place.childElementCount > 1) return;
  const none = h("p", { class: "hint" }, "No scheduled commands.");
  const list = h("ul", { class: "waiting-list", "aria-label": "Scheduled commands" });
  const more = h("p", { class: "hint" });
  const all = button("Cancel all", "Cancel all scheduled commands", () => live.order("/cancel"), {
    "data-action": "cancel-all",
  });
  place.replaceChildren(none, list, more, all);
  let rows = [];

  // A bundle is one row: its messages take effect together, and are cancelled together.
  function draw({ count, messages }) {
    const bundles = new Map();
    for (const one of messages) {
      if (!bundles.has(one.number)) bundles.set(one.number, []);
      bundles.get(one.number).push(one);
    }
    rows = [...bundles.values()].map(row);
    list.replaceChildren(...rows.map((one) => one.element));
    none.hidden = count > 0;
    list.hidden = all.hidden = count === 0;
    more.hidden = count <= messages.length;
    setText(more, `and ${count - messages.length} more`);
    tick();
  }
  function row(bundle) {
    const [{ number, due, sender }] = bundle;
    const text = bundle.map((one) => `${one.address} ${one.arguments}`.trim()).join(", ");
    const when = h("span", { class: "waiting-time" });
    const cancel = button("Cancel", `Cancel ${text}`, () => live.order("/cancel/number", number), {
      "data-action": "cancel-waiting",
    });
    return {
      due, when,
      element: h("li", {}, when, h("span", { class: "waiting-text", title: text }, text),
        sender ? h("span", { class: "waiting-sender" }, `from ${sender}`) : null, cancel),
    };
  }
  function tick() {
    for (const { due, when } of rows) setText(when, `in ${span(due - live.clock())}`);
  }
  live.on("waiting", draw);
  live.events.addEventListener("health", tick);
}

/** A duration in one or two units: 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function span(seconds) {
  const left = Math.max(0, Math.round(seconds));
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, length]) => left >= length);
  if (first < 0) return "0 s";
  const [name, length] = units[first];
  const rest = left % length;
  const second = units[first + 1];
  const tail = second && rest >= second[1] ? ` ${Math.floor(rest / second[1])} ${second[0]}` : "";
  return `${Math.floor(left / length)} ${name}${tail}`;
}
