// Beat grids in the picture's format: beats and their positions in seconds, linear in between.

/** The beat at a position in seconds; null without a grid. */
export function beatAt(grid, seconds) {
  return along(grid, seconds, grid?.seconds, grid?.beats);
}

/** The position of a beat in seconds; null without a grid. */
export function secondsAt(grid, beat) {
  return along(grid, beat, grid?.beats, grid?.seconds);
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
