// Runs in a page before its own scripts, in tests that do not examine motion. Without a graphics
// card, drawing 60 times per second costs more than everything else in a test. Each frame that is
// drawn and each report of the server that is handled is a real one: there are only fewer.
(() => {
  const PAUSE_MS = 250; // between two of them
  const REPORT = '{"now":'; // positions and meters, 30 times per second; all others are immediate
  const draw = requestAnimationFrame;
  const waiting = new Map();
  const reports = new Map(); // the latest one of each connection
  let number = 0;
  let timer = 0;
  let drawn = -Infinity;

  function soon() {
    timer ||= setTimeout(() => draw(run), Math.max(0, drawn + PAUSE_MS - performance.now()));
  }

  function run(time) {
    timer = 0;
    drawn = performance.now();
    for (const deliver of reports.values()) deliver();
    reports.clear();
    const callbacks = [...waiting.values()];
    waiting.clear();
    for (const callback of callbacks) callback(time);
  }

  globalThis.requestAnimationFrame = (callback) => {
    waiting.set(++number, callback);
    soon();
    return number;
  };
  globalThis.cancelAnimationFrame = (which) => waiting.delete(which);

  globalThis.WebSocket = class extends WebSocket {
    set onmessage(handler) {
      super.onmessage = (message) => {
        if (typeof message.data === "string" && message.data.startsWith(REPORT)) {
          reports.set(this, () => handler.call(this, message));
          soon();
        } else handler.call(this, message);
      };
    }
  };
})();
