// A level meter: RMS as a bar, the peak as a line that falls slowly.

import { h } from "./dom.js";

const FLOOR = -60; // dBFS at the bottom
const FALL = 20; // dB per second
const CLIP_MS = 1500; // for which the clip indicator stays lit

/** A meter with one bar per channel; `set([peaks], [rms])` in dBFS. */
export function meter(label, channels = 1, attributes = {}) {
  const bars = Array.from({ length: channels }, () => {
    const fill = h("span", { class: "meter-fill" });
    const peak = h("span", { class: "meter-peak" });
    return { fill, peak, at: 0, shown: 0, element: h("span", { class: "meter-bar" }, fill, peak) };
  });
  const root = h(
    "div",
    { class: "meter", role: "img", "aria-label": label, ...attributes },
    ...bars.map((bar) => bar.element),
  );
  let before = performance.now();
  let clipped = -Infinity;
  function set(peaks, rms = peaks) {
    const now = performance.now();
    const fallen = ((now - before) / 1000) * (FALL / -FLOOR);
    before = now;
    bars.forEach((bar, at) => {
      const peak = place(peaks[at]);
      bar.at = Math.max(peak, bar.at - fallen);
      const level = place(rms[at]);
      bar.shown = Math.max(level, bar.shown - 2 * fallen);
      bar.fill.style.setProperty("--level", bar.shown.toFixed(3));
      bar.peak.style.setProperty("--level", bar.at.toFixed(3));
      if (peaks[at] >= 0) clipped = now;
    });
    root.classList.toggle("clipped", now - clipped < CLIP_MS);
  }
  return { root, set };
}

function place(level) {
  return Math.max(0, Math.min(1, 1 - (level ?? FLOOR) / FLOOR));
}
