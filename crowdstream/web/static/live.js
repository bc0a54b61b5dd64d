// The connection to the server, and the state received from it: picture, command table, playheads.
//
// The page keeps no state of its own. While the connection is down, `live.state` says so; the last
// known values stay visible, but no command is sent.

import { Playheads } from "./playheads.js";
import { ServerClock } from "./serverclock.js";

const FIRST_RETRY = 0.25; // s; doubles up to
const LAST_RETRY = 5; // s
const SILENCE = 3; // s without a message, after which the connection counts as broken
const WATCH_MS = 500; // between two checks of the connection
const PINGS_AT_FIRST = 8; // in quick succession, for a first estimate of the clock
const PING_SECONDS = 2;
const ANSWER_SECONDS = 20; // a command without a reply within this time has failed

export const VIEW_ONLY = "View only: open this page with the token to control the mix";
const DONE = new Set(["/done", "/fail"]);
const LATE = 1; // s by which this page's timers may be late before the page counts as stalled

export class Live {
  constructor(url = defaultUrl()) {
    this.url = url;
    this.events = new EventTarget(); // state, hello, health, event, changed, answer, refused, wave
    this.state = "connecting"; // open, lost
    this.hello = null;
    this.now = null;
    this.since = 0; // performance.now() of the latest message
    this.retryAt = 0; // performance.now() of the next attempt to connect
    this._picture = new Map();
    this._watchers = new Map();
    this._nowWatchers = new Set();
    this._pending = new Map(); // commands without a reply, by id
    this._serial = 0;
    this._panels = [];
    this._delay = FIRST_RETRY;
    this._clock = new ServerClock();
    this._playheads = new Playheads(this);
    this._socket = null;
  }

  /** Connect, and reconnect whenever the connection is lost. */
  start() {
    this._open();
    this._watched = performance.now();
    setInterval(() => this._watch(), WATCH_MS);
    addEventListener("online", () => this._retrySoon());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this._retrySoon();
    });
  }

  /** The value of a key of the picture; undefined if it is unknown. */
  get(key) {
    return this._picture.get(key);
  }

  /** Call `fn(value)` now, if the value is known, and on each change. Returns an unsubscriber. */
  on(key, fn) {
    if (!this._watchers.has(key)) this._watchers.set(key, new Set());
    this._watchers.get(key).add(fn);
    if (this._picture.has(key)) fn(this._picture.get(key));
    return () => this._watchers.get(key).delete(fn);
  }

  /** Call `fn(now)` with each report of playheads and meters, 30 times a second. */
  onNow(fn) {
    this._nowWatchers.add(fn);
    return () => this._nowWatchers.delete(fn);
  }

  /** Whether commands can be sent: connected, and with full control. */
  get writable() {
    return this.state === "open" && Boolean(this.hello && this.hello.write);
  }

  /** Run a command; resolves to its replies, rejects with the reason of its /fail. */
  do(address, ...args) {
    return this._request(address, args, false);
  }

  /** The same, but resolves with its /done: a load is accepted immediately and completed later. */
  finish(address, ...args) {
    return this._request(address, args, true);
  }

  _request(address, args, later) {
    if (this.state !== "open") return Promise.reject(new Error("not connected to the server"));
    if (!this.writable) {
      return Promise.reject(new Error(VIEW_ONLY));
    }
    const id = ++this._serial;
    return new Promise((resolve, reject) => {
      const at = performance.now();
      this._pending.set(id, { address, answers: [], resolve, reject, at, later });
      this.send({ do: [id, address, ...args] });
    });
  }

  /** Run a command without waiting for it: a failure is dispatched as a "refused" event. */
  order(address, ...args) {
    return this.do(address, ...args).catch((error) => {
      this._dispatch("refused", { address, args, reason: error.message });
      return null;
    });
  }

  /** Send a message; it is dropped while there is no connection. */
  send(message) {
    if (this._socket && this._socket.readyState === WebSocket.OPEN) {
      this._socket.send(JSON.stringify(message));
    }
  }

  /** Subscribe to the data of the panels that are open. */
  see(panels) {
    this._panels = panels;
    this.send({ see: panels });
  }

  /** The server's monotonic clock now, in seconds. */
  clock() {
    return this._clock.now();
  }

  /** The audible playhead of a deck: {frame, speed, playing}. */
  playhead(deck) {
    return this._playheads.deck(deck);
  }

  /** The audible beat of the clock. */
  beat() {
    return this._playheads.beat();
  }

  _open() {
    this.retryAt = 0;
    const socket = new WebSocket(this.url);
    this._socket = socket;
    this.since = performance.now();
    socket.onmessage = (message) => {
      if (socket === this._socket) this._receive(JSON.parse(message.data));
    };
    socket.onclose = (event) => {
      if (socket === this._socket) this._disconnect(event.reason);
    };
  }

  _disconnect(reason = "") {
    const socket = this._socket;
    this._socket = null;
    if (socket) socket.close();
    for (const pending of this._pending.values()) {
      pending.reject(new Error("the connection was lost before the server replied"));
    }
    this._pending.clear();
    this.retryAt = performance.now() + this._delay * 1000 * (0.8 + 0.4 * Math.random());
    this._delay = Math.min(2 * this._delay, LAST_RETRY);
    this.reason = reason;
    this._setState("lost");
  }

  _retrySoon() {
    if (this.state === "lost") this.retryAt = Math.min(this.retryAt, performance.now());
    this._watch();
  }

  _watch() {
    const now = performance.now();
    // A page that has stalled has not read what arrived meanwhile: do not count that as silence.
    if (now - this._watched > WATCH_MS + LATE * 1000) this.since = now;
    this._watched = now;
    if (this.retryAt && now >= this.retryAt) this._open();
    else if (this._socket && now - this.since > SILENCE * 1000) this._disconnect("the server does not respond");
    else if (this.state === "open" && now - this._pinged > PING_SECONDS * 1000) this._ping();
    for (const [id, pending] of this._pending) {
      if (!pending.ended && now - pending.at > ANSWER_SECONDS * 1000) {
        this._pending.delete(id);
        pending.reject(new Error("no reply from the server"));
      }
    }
  }

  _ping() {
    this._pinged = performance.now();
    this.send({ ping: this._pinged / 1000 });
  }

  _setState(state) {
    this.state = state;
    this._dispatch("state", state);
  }

  _dispatch(name, detail) {
    this.events.dispatchEvent(new CustomEvent(name, { detail }));
  }

  _receive(message) {
    this.since = performance.now();
    for (const [kind, value] of Object.entries(message)) {
      const handler = this[`_on_${kind}`];
      if (handler) handler.call(this, value);
      else this._dispatch(kind, value); // event, changed, wave, and future kinds
    }
  }

  _on_hello(hello) {
    this.hello = hello;
    this._delay = FIRST_RETRY;
    this._clock = new ServerClock();
    this._playheads.forget();
    this._pings = 0;
    this._setState("open");
    this._dispatch("hello", hello);
    this._ping();
    if (this._panels.length) this.see(this._panels);
  }

  _on_picture(picture) {
    for (const [key, value] of Object.entries(picture)) this._picture.set(key, value);
    for (const key of Object.keys(picture)) {
      for (const fn of this._watchers.get(key) || []) call(fn, this._picture.get(key));
    }
  }

  _on_now(now) {
    this.now = now;
    this._clock.hint(now.t);
    this._playheads.add(now);
    for (const fn of this._nowWatchers) call(fn, now);
  }

  _on_health(health) {
    this._picture.set("readings", health);
    this._dispatch("health", health);
  }

  _on_pong([sent, server]) {
    this._clock.take(sent, server, performance.now() / 1000);
    this._pings += 1;
    if (this._pings < PINGS_AT_FIRST) setTimeout(() => this._ping(), 60);
  }

  _on_answer([id, address, ...args]) {
    const pending = this._pending.get(id);
    if (pending) {
      pending.answers.push([address, ...args]);
      if (pending.ended && DONE.has(address)) this._settle(id, pending);
    } else if (address === "/fail") {
      // Of a command that has been settled, such as a load that failed after it was accepted.
      this._dispatch("refused", { address: args[0], args: [], reason: String(args[1]) });
    }
    this._dispatch("answer", [id, address, ...args]);
  }

  _on_end(id) {
    const pending = this._pending.get(id);
    if (!pending) return;
    pending.ended = true;
    if (!pending.later || pending.answers.some(([address]) => DONE.has(address))) this._settle(id, pending);
  }

  _settle(id, pending) {
    this._pending.delete(id);
    const failed = pending.answers.find(([address]) => address === "/fail");
    if (failed) pending.reject(new Error(String(failed[2])));
    else pending.resolve(pending.answers);
  }
}

// A part that fails, as with a server of another version, must not stop the others.
function call(fn, value) {
  try {
    fn(value);
  } catch (error) {
    queueMicrotask(() => { throw error; }); // reported like any error of the page
  }
}

function defaultUrl() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}/live`;
}

export const live = new Live();
