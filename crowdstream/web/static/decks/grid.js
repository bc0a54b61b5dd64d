// Beat grids as the picture has them: beats and the seconds they are at, straight between them.

/** The beat at a place of the file, in seconds; null without a grid. */
export function beatAt(grid, seconds) {
  return along(grid, seconds, grid && grid.seconds, grid && grid.beats);
}

/** The place of a beat, in seconds; null without a grid. */
export function secondsAt(grid, beat) {
  return along(grid, beat, grid && grid.beats, grid && grid.seconds);
}

function along(grid, value, from, to) {
  if (!grid || from.length < 2) return null;
  let low = 0;
  let high = from.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (from[middle] <= value) low = middle;
    else high = middle - 1;
  }
  const span = from[low + 1] - from[low];
  if (!span) return to[low];
  return to[low] + ((value - from[low]) * (to[low + 1] - to[low])) / span;
}
