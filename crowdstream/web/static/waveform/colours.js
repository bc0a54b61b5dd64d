// Colours of a waveform, from the page's CSS variables if they exist: --stem-1 to --stem-8, ...

const STEMS = ["#45b8ff", "#ffab40", "#5fe08a", "#ff6ba9", "#b591ff", "#38ddd0", "#ffe163", "#ff8562"];

/** Red, green and blue, 0 to 255, of any CSS colour. */
export function parse(text) {
  const context = parse.context ||= document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = "#888";
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

const mixed = (from, to, share) => from.map((value, i) => Math.round(value + (to[i] - value) * share));
// The order of image data on little-endian machines, which are all that browsers run on.
const packed = ([red, green, blue]) => (blue << 16) | (green << 8) | red;

/** "rgba(...)" from red, green and blue. */
export const css = ([red, green, blue], alpha = 1) => `rgba(${red}, ${green}, ${blue}, ${alpha})`;

/** The current colours of a waveform with `count` stems. */
export function palette(element, count) {
  const style = getComputedStyle(element);
  const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const stems = Array.from({ length: count }, (_, stem) => {
    const base = parse(read(`--stem-${(stem % 8) + 1}`, STEMS[stem % 8]));
    // Low is dark and saturated, high is pale: brightness separates them without hue, too.
    const low = mixed(base, [0, 0, 24], 0.5);
    const high = mixed(base, [255, 255, 255], 0.72);
    return { base, bands: [packed(low), packed(base), packed(high)] };
  });
  return {
    stems,
    ground: parse(read("--waveform-ground", "#0b0d12")),
    line: parse(read("--waveform-line", "#8b94a8")),
    playhead: parse(read("--waveform-playhead", "#ffffff")),
    cue: parse(read("--waveform-cue", "#ff9f2e")),
    loop: parse(read("--waveform-loop", "#49e07f")),
    selection: parse(read("--waveform-selection", "#7cc4ff")),
    text: parse(read("--waveform-text", "#c9d0de")),
    font: read("--waveform-font", "ui-sans-serif, system-ui, sans-serif"),
  };
}

/** Colours of the hot cues 1 to 8. */
export const CUES = ["#ff5f6d", "#ffb13d", "#ffe163", "#6fe27f", "#3fd8e0", "#5ea8ff", "#b48cff", "#ff7fc8"].map(
  (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);
