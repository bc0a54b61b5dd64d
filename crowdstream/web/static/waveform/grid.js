// A beat grid in the picture's format: pairs of beat and second, linear between and beyond them.

/** The beat at a position (s). */
export const beatAt = (grid, seconds) => along(seconds, grid.seconds, grid.beats);

/** The position (s) of a beat. */
export const secondsAt = (grid, beat) => along(beat, grid.beats, grid.seconds);

/** Whether the grid has at least two points. */
export const usable = (grid) => Boolean(grid && grid.beats && grid.beats.length > 1);

function along(value, from, to) {
  let low = 0;
  let high = from.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (from[middle] <= value) low = middle;
    else high = middle - 1;
  }
  const span = from[low + 1] - from[low];
  return span ? to[low] + ((value - from[low]) * (to[low + 1] - to[low])) / span : to[low];
}

/**
 * Grid lines between two positions: [{seconds, beat, strong}], one per beat, per bar, or per 4, 16
 * or 64 bars. `least`: the minimum distance between two lines in seconds.
 */
export function lines(grid, from, to, least, meter) {
  if (!usable(grid) || to <= from) return [];
  const first = beatAt(grid, from);
  const last = beatAt(grid, to);
  const length = (to - from) / Math.max(1e-9, last - first);
  let step = 1;
  for (const next of [meter, 4 * meter, 16 * meter, 64 * meter, 256 * meter]) {
    if (length * step < least) step = next;
  }
  const strong = step === 1 ? meter : 4 * step;
  const found = [];
  for (let beat = Math.ceil(first / step) * step; beat <= last && found.length < 2000; beat += step) {
    const weight = ((beat % strong) + strong) % strong === 0;
    found.push({ beat, seconds: secondsAt(grid, beat), strong: weight, step });
  }
  return found;
}
