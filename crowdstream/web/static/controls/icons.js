// Icons: one path each, in a square of 24 units.

import { svg } from "./dom.js";

const PATHS = {
  play: "M7 4.5v15l13-7.5z",
  pause: "M6 4.5h4.5v15H6zM13.5 4.5H18v15h-4.5z",
  stop: "M5.5 5.5h13v13h-13z",
  cue: "M5 4.5h3v15H5zM20 4.5v15L9 12z",
  record: "M12 5.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z",
  eject: "M12 4.5 20 14H4zM4 16.5h16v3H4z",
  headphones: "M4 13a8 8 0 0 1 16 0v6.5h-5V13.500h3V13a6 6 0 0 0-12 0v.5h3v6H4z",
  close: "m6.400 5 5.600 5.600L17.600 5 19 6.400 13.400 12l5.600 5.600-1.400 1.400-5.600-5.600L6.400 19 5 17.600l5.600-5.600L5 6.400z",
  left: "M15.500 5v14L7 12z",
  right: "M8.500 5v14L17 12z",
  up: "M5 15.500h14L12 7z",
  down: "M5 8.500h14L12 17z",
  loop: "M7 7h9V4l5 4.500-5 4.500v-3H9a2.500 2.500 0 0 0 0 5h1v3H9A5.500 5.500 0 0 1 7 7zM13 15h2a2 2 0 0 0 2-1h3.200A5.500 5.500 0 0 1 15 18h-2z",
  folder: "M3 5.500h7l2 2.500h9v11H3z",
  file: "M9 4l10-1.500V15a3 3 0 1 1-2-2.800V7l-6 .9V17a3 3 0 1 1-2-2.800z",
  stems: "M3 6h18v2.500H3zM3 10.800h13v2.500H3zM3 15.500h16V18H3z",
  search: "M10.500 4a6.500 6.500 0 0 1 5.200 10.400l4.800 4.800-1.500 1.500-4.800-4.800A6.500 6.500 0 1 1 10.500 4zm0 2a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9z",
  heart: "M2.500 11h4l2-5 4 12 3-9 1.500 4h4.500v2h-6l-.5-1.400-2.600 7.400-4-12L7.900 13H2.500z",
  mixer: "M5 4h2v5h2v3H7v8H5v-8H3V9h2zM11 4h2v9h2v3h-2v4h-2v-4H9v-3h2zM17 4h2v3h2v3h-2v10h-2V10h-2V7h2z",
  pads: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  send: "M3 5h10v2H5v10h8v2H3zM14 7.500 20.500 12 14 16.500v-3.300H8.500v-2.400H14z",
  reverse: "M12 5v14L3 12zM21 5v14l-9-7z",
  brake: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zm0 2.200a5.800 5.800 0 1 1 0 11.600 5.800 5.800 0 0 1 0-11.600zM8.800 10.800h6.400v2.400H8.800z",
  plus: "M10.800 4h2.400v6.800H20v2.400h-6.800V20h-2.400v-6.800H4v-2.400h6.800z",
  minus: "M4 10.800h16v2.400H4z",
  power: "M10.900 3h2.200v9h-2.200zM7.300 5.800l1.300 1.800a6 6 0 1 0 6.800 0l1.300-1.800a8.200 8.200 0 1 1-9.400 0z",
  lock: "M6.500 10V8a5.500 5.500 0 0 1 11 0v2H19v10H5V10zm2.500 0h6V8a3 3 0 0 0-6 0z",
  keyboard: "M2.500 6h19v12h-19zm2 2v2h2V8zm4 0v2h2V8zm4 0v2h2V8zm4 0v2h3V8zm-12 3.500v2h3v-2zm5 0v2h2v-2zm4 0v2h2v-2zm4 0v2h2v-2zM7.500 15v1.500h9V15z",
};

/** An icon. It is decorative: its button carries the accessible name. */
export function icon(name) {
  const path = svg("path", { d: PATHS[name] });
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, path);
}

/** Replace an element's first icon. */
export function setIcon(element, name) {
  const path = element.querySelector("svg path");
  if (path.getAttribute("d") !== PATHS[name]) path.setAttribute("d", PATHS[name]);
}
