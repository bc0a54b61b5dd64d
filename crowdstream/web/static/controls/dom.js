// Create elements. Text is only ever set as text, so no name or tag can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("button", {class: "play", "aria-label": "Play", onclick: fn}, "text", child). */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG elements. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set an element's text, if it differs. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, if its value differs; null removes it. */
export function setAttribute(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** A drop-down list: options are texts, or [value, text]. */
export function select(label, options, onchange, attributes = {}) {
  const element = h("select", { "aria-label": label, ...attributes });
  for (const option of options) {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    element.append(h("option", { value }, text));
  }
  element.addEventListener("change", () => onchange(element.value));
  return element;
}
