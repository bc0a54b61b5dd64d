// Buttons: those that do something, and those that are on or off.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** A button. `face`: the name of an icon, as "icon:play", or a text. */
export function button(face, label, onclick, attributes = {}) {
  const shown = face.startsWith("icon:") ? icon(face.slice(5)) : face;
  const { class: extra = "", ...rest } = attributes;
  return h(
    "button",
    { type: "button", class: `button ${extra}`, "aria-label": label, title: label, onclick, ...rest },
    shown,
  );
}

/** A button that is on or off. `send(on)` orders it; what is shown is what the server says. */
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
