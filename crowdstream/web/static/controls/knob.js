// The appearance of knobs and faders.

import { h, setText, svg } from "./dom.js";
import { Slider } from "./slider.js";

const SWEEP = 270; // degrees from minimum to maximum
const RADIUS = 20;

/** A knob with its name below it, and its value while held. `middle`: place where the arc starts. */
export function knob(options) {
  const value = svg("path", { class: "knob-value" });
  const pointer = svg("line", { class: "knob-pointer", x1: 24, y1: 10, x2: 24, y2: 18 });
  const drawing = svg(
    "svg",
    { viewBox: "0 0 48 48", "aria-hidden": "true" },
    svg("path", { class: "knob-track", d: arc(0, 1) }),
    value,
    svg("circle", { class: "knob-cap", cx: 24, cy: 24, r: 14.5 }),
    pointer,
  );
  const readout = h("span", { class: "knob-readout", "aria-hidden": "true" });
  const dial = h("div", { class: `knob ${options.class || ""}` }, drawing, readout);
  const middle = options.middle;
  const slider = new Slider(dial, {
    ...options,
    show: (place, number) => {
      const from = middle === undefined ? 0 : middle;
      value.setAttribute("d", arc(Math.min(from, place), Math.max(from, place)));
      const turn = (place - 0.5) * SWEEP;
      pointer.setAttribute("transform", `rotate(${turn.toFixed(1)} 24 24)`);
      setText(readout, options.text(number));
      dial.classList.toggle("at-rest", number === options.initial);
      dial.title = `${options.label}: ${options.text(number)}`;
    },
  });
  const name = h("span", { class: "knob-name", "aria-hidden": "true" }, options.name || "");
  slider.root = h("div", { class: "knob-cell" }, dial, name);
  return slider;
}

/** A fader: a track with a cap. `axis`: "y" or "x". */
export function faderControl(options) {
  const cap = h("span", { class: "fader-cap" });
  const element = h(
    "div",
    { class: `fader fader-${options.axis || "y"} ${options.class || ""}` },
    h("span", { class: "fader-line" }),
    cap,
  );
  const slider = new Slider(element, {
    absolute: true,
    ...options,
    show: (place, number) => {
      element.title = `${options.label}: ${options.text(number)}`;
      if (options.show) options.show(place, number);
    },
  });
  if (options.initial !== undefined) {
    const rest = options.law.place(options.initial);
    element.style.setProperty("--rest", rest.toFixed(4));
  }
  slider.root = element;
  return slider;
}

function arc(from, to) {
  if (to - from < 0.004) return "";
  const [x1, y1] = onCircle(from);
  const [x2, y2] = onCircle(to);
  const large = (to - from) * SWEEP > 180 ? 1 : 0;
  return `M${x1} ${y1}A${RADIUS} ${RADIUS} 0 ${large} 1 ${x2} ${y2}`;
}

function onCircle(place) {
  const angle = (((place - 0.5) * SWEEP - 90) * Math.PI) / 180;
  return [24 + RADIUS * Math.cos(angle), 24 + RADIUS * Math.sin(angle)].map((x) => x.toFixed(2));
}
