// Push buttons and toggle buttons.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** A push button. `face`: the name of an icon, as "icon:play", or a text. */
export function button(face, label, onclick, attributes = {}) {
  const shown = face.startsWith("icon:") ? icon(face.slice(5)) : face;
  const { class: extra = "", ...rest } = attributes;
  return h(
    "button",
    { type: "button", class: `button ${extra}`, "aria-label": label, title: label, onclick, ...rest },
    shown,
  );
}

/** A toggle button. `send(on)` sends the command; the button shows the server's state. */
export function toggle(face, label, send, attributes = {}) {
  const element = button(
    face,
    label,
    () => send(element.getAttribute("aria-pressed") !== "true"),
    { ...attributes, class: `toggle ${attributes.class || ""}`, "aria-pressed": "false" },
  );
  element.set = (on) => {
    const text = on ? "true" : "false";
    if (element.getAttribute("aria-pressed") !== text) element.setAttribute("aria-pressed", text);
  };
  return element;
}
