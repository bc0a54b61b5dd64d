// Runs in a page before its own scripts, where a test does not look at motion. Without a graphics
// card, drawing 60 times a second costs more than all else that a test does. Each frame that is
// drawn and each report of the server that is taken is a real one: there are only fewer of them.
(() => {
  const PAUSE_MS = 250; // between two of them
  const REPORT = '{"now":'; // positions and meters, 30 times a second; all else comes at once
  const draw = requestAnimationFrame;
  const waiting = new Map();
  const reports = new Map(); // of each connection the latest one
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
