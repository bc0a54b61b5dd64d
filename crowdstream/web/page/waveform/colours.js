// Colours of stems, from the page's variables: --stem-1 to --stem-8, or --stem-<name>.

const STEMS = ["#45b8ff", "#ffab40", "#5fe08a", "#ff6ba9", "#b591ff", "#38ddd0", "#ffe163", "#ff8562"];
const NAMED = { drums: 0, bass: 1, vocals: 2, vocal: 2, other: 3, melody: 3, synth: 4, keys: 4, guitar: 5, fx: 6 };

/** Red, green and blue, 0 to 255, of any colour that CSS knows. */
export function parse(text) {
  const context = parse.context ||= document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = "#888";
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

const mixed = (from, to, share) => from.map((value, i) => Math.round(value + (to[i] - value) * share));
// As image data has it where numbers begin with their last byte, which is everywhere.
const packed = ([red, green, blue]) => (blue << 16) | (green << 8) | red;

/** "rgba(...)" of red, green and blue. */
export const css = ([red, green, blue], alpha = 1) => `rgba(${red}, ${green}, ${blue}, ${alpha})`;

/** The colours of a deck's waveform as they are now; `names` of its stems. */
export function palette(element, names) {
  const style = getComputedStyle(element);
  const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const taken = new Set();
  const stems = names.map((name, index) => {
    const plain = String(name).toLowerCase().replace(/[^a-z0-9]/g, "");
    let number = NAMED[plain] ?? index;
    for (let tries = 0; taken.has(number % 8) && tries < 8; tries += 1) number += 1;
    taken.add(number % 8);
    const own = plain && read(`--stem-${plain}`, "");
    const base = parse(own || read(`--stem-${(number % 8) + 1}`, STEMS[number % 8]));
    // Low deep and full, high pale: told apart by brightness, also by who does not see hues.
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
