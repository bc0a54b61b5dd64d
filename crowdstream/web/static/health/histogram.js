// A histogram of render times on a logarithmic axis, with the duration of a block marked.

const LOW = 0.004; // ms at the left edge
const HEIGHT = 64;

/** Draw rows of [upper edge in ms, renders, intervals]; `budget`: the duration of a block in ms. */
export function drawHistogram(canvas, rows, budget) {
  const width = canvas.clientWidth;
  if (!width) return;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(HEIGHT * scale);
  }
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name).trim();
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, HEIGHT);
  const high = Math.max(4 * budget, ...rows.filter(([, count]) => count).map(([edge]) => edge));
  const x = (ms) => (width * Math.log(Math.max(ms, LOW) / LOW)) / Math.log(high / LOW);
  const most = Math.max(1, ...rows.map(([, count]) => count));
  // Logarithmic: counts span many powers of ten, and the rare long renders matter most.
  const y = (count) => (count ? 3 + ((HEIGHT - 16) * Math.log1p(count)) / Math.log1p(most) : 0);
  for (const [edge, count] of rows) {
    const left = x(edge / 1.22);
    context.fillStyle = colour(edge > budget ? "--bad" : "--accent");
    context.fillRect(left, HEIGHT - 12 - y(count), Math.max(1.5, x(edge) - left - 1), y(count));
  }
  context.fillStyle = colour("--text-3");
  context.fillRect(0, HEIGHT - 12, width, 1);
  context.fillStyle = colour("--warn");
  context.fillRect(x(budget), 0, 1.5, HEIGHT - 12);
  context.fillStyle = colour("--text-2");
  context.font = "10px system-ui, sans-serif";
  for (const [ms, text] of [[0.01, "10 µs"], [0.1, "0.1 ms"], [1, "1 ms"], [10, "10 ms"]]) {
    if (ms < high) context.fillText(text, x(ms) + 2, HEIGHT - 2);
  }
  const renders = rows.reduce((sum, [, count]) => sum + count, 0);
  const over = rows.reduce((sum, [edge, count]) => sum + (edge > budget ? count : 0), 0);
  canvas.setAttribute("aria-label", `Render times: ${renders} blocks, ${over} over budget`);
}
