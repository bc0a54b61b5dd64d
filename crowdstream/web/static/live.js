// The connection to the server, and what is known of it: the picture, the table, and the moment.
//
// Nothing here is kept that the server has not said. While the connection is away, `live.state`
// says so, and what was known stays to be looked at, but nothing is sent.

import { Heard } from "./heard.js";
import { ServerClock } from "./serverclock.js";

const FIRST_RETRY = 0.25; // s; doubles up to
const LAST_RETRY = 5; // s
const SILENCE = 3; // s without a word, after which the connection counts as broken
const WATCH_MS = 500; // between two looks at the connection
const PINGS_AT_FIRST = 8; // close together, for a first estimate of the clock
const PING_SECONDS = 2;
const ANSWER_SECONDS = 20; // a command that is not answered by then has failed

export const LOOK_ONLY = "this page may only look; open it with its token to change";
const DONE = new Set(["/done", "/fail"]);
const LATE = 1; // s by which this page's own timers may be late before it counts as held up

export class Live {
  constructor(url = defaultUrl()) {
    this.url = url;
    this.events = new EventTarget(); // state, hello, health, event, changed, answer, refused, wave
    this.state = "connecting"; // open, lost
    this.hello = null;
    this.now = null;
    this.since = 0; // performance.now() of the latest message
    this.retryAt = 0; // performance.now() when it is tried again
    this._picture = new Map();
    this._watchers = new Map();
    this._nowWatchers = new Set();
    this._asked = new Map();
    this._serial = 0;
    this._panels = [];
    this._delay = FIRST_RETRY;
    this._clock = new ServerClock();
    this._heard = new Heard(this);
    this._socket = null;
  }

  /** Connect, and stay connected from now on. */
  start() {
    this._open();
    this._watched = performance.now();
    setInterval(() => this._watch(), WATCH_MS);
    addEventListener("online", () => this._soon());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this._soon();
    });
  }

  /** Value of a key of the picture; undefined while it is not known. */
  get(key) {
    return this._picture.get(key);
  }

  /** Call `fn(value)` now, if the value is known, and whenever it changes; returns the end of it. */
  on(key, fn) {
    if (!this._watchers.has(key)) this._watchers.set(key, new Set());
    this._watchers.get(key).add(fn);
    if (this._picture.has(key)) fn(this._picture.get(key));
    return () => this._watchers.get(key).delete(fn);
  }

  /** Call `fn(now)` with each report of positions and meters, 30 times a second. */
  onNow(fn) {
    this._nowWatchers.add(fn);
    return () => this._nowWatchers.delete(fn);
  }

  /** Whether commands can be given: connected, and allowed to. */
  get writable() {
    return this.state === "open" && Boolean(this.hello && this.hello.write);
  }

  /** Carry out a command; resolves to its answers, rejects with the reason of its /fail. */
  do(address, ...args) {
    return this._ask(address, args, false);
  }

  /** The same, resolved only with its /done: a load is carried out at once, and done later. */
  finish(address, ...args) {
    return this._ask(address, args, true);
  }

  _ask(address, args, later) {
    if (this.state !== "open") return Promise.reject(new Error("not connected to the server"));
    if (!this.writable) {
      return Promise.reject(new Error(LOOK_ONLY));
    }
    const id = ++this._serial;
    return new Promise((resolve, reject) => {
      const at = performance.now();
      this._asked.set(id, { address, answers: [], resolve, reject, at, later });
      this.send({ do: [id, address, ...args] });
    });
  }

  /** The same, where nobody waits: a refusal is told to everybody who listens for "refused". */
  order(address, ...args) {
    return this.do(address, ...args).catch((error) => {
      this._tell("refused", { address, args, reason: error.message });
      return null;
    });
  }

  /** Send any message; what can't be sent is dropped. */
  send(message) {
    if (this._socket && this._socket.readyState === WebSocket.OPEN) {
      this._socket.send(JSON.stringify(message));
    }
  }

  /** Say which panels are open: the server then sends what they show. */
  see(panels) {
    this._panels = panels;
    this.send({ see: panels });
  }

  /** The server's monotonic clock now, in seconds. */
  clock() {
    return this._clock.now();
  }

  /** Where a deck is under the listener's ear now: {frame, speed, playing}. */
  heard(deck) {
    return this._heard.deck(deck);
  }

  /** The clock's beat under the listener's ear now. */
  beat() {
    return this._heard.beat();
  }

  _open() {
    this.retryAt = 0;
    const socket = new WebSocket(this.url);
    this._socket = socket;
    this.since = performance.now();
    socket.onmessage = (message) => {
      if (socket === this._socket) this._hear(JSON.parse(message.data));
    };
    socket.onclose = (event) => {
      if (socket === this._socket) this._lose(event.reason);
    };
  }

  _lose(reason = "") {
    const socket = this._socket;
    this._socket = null;
    if (socket) socket.close();
    for (const asked of this._asked.values()) {
      asked.reject(new Error("the connection was lost before this was answered"));
    }
    this._asked.clear();
    this.retryAt = performance.now() + this._delay * 1000 * (0.8 + 0.4 * Math.random());
    this._delay = Math.min(2 * this._delay, LAST_RETRY);
    this.reason = reason;
    this._become("lost");
  }

  _soon() {
    if (this.state === "lost") this.retryAt = Math.min(this.retryAt, performance.now());
    this._watch();
  }

  _watch() {
    const now = performance.now();
    // A page that was held up, by its computer, has not read what may have come meanwhile.
    if (now - this._watched > WATCH_MS + LATE * 1000) this.since = now;
    this._watched = now;
    if (this.retryAt && now >= this.retryAt) this._open();
    else if (this._socket && now - this.since > SILENCE * 1000) this._lose("it does not answer");
    else if (this.state === "open" && now - this._pinged > PING_SECONDS * 1000) this._ping();
    for (const [id, asked] of this._asked) {
      if (!asked.ended && now - asked.at > ANSWER_SECONDS * 1000) {
        this._asked.delete(id);
        asked.reject(new Error("no answer from the server"));
      }
    }
  }

  _ping() {
    this._pinged = performance.now();
    this.send({ ping: this._pinged / 1000 });
  }

  _become(state) {
    this.state = state;
    this._tell("state", state);
  }

  _tell(name, detail) {
    this.events.dispatchEvent(new CustomEvent(name, { detail }));
  }

  _hear(message) {
    this.since = performance.now();
    for (const [kind, value] of Object.entries(message)) {
      const handler = this[`_on_${kind}`];
      if (handler) handler.call(this, value);
      else this._tell(kind, value); // event, changed, wave, and what comes to be
    }
  }

  _on_hello(hello) {
    this.hello = hello;
    this._delay = FIRST_RETRY;
    this._clock = new ServerClock();
    this._heard.forget();
    this._pings = 0;
    this._become("open");
    this._tell("hello", hello);
    this._ping();
    if (this._panels.length) this.see(this._panels);
  }

  _on_picture(picture) {
    for (const [key, value] of Object.entries(picture)) this._picture.set(key, value);
    for (const key of Object.keys(picture)) {
      for (const fn of this._watchers.get(key) || []) fn(this._picture.get(key));
    }
  }

  _on_now(now) {
    this.now = now;
    this._clock.hint(now.t);
    this._heard.take(now);
    for (const fn of this._nowWatchers) fn(now);
  }

  _on_health(health) {
    this._picture.set("readings", health);
    this._tell("health", health);
  }

  _on_pong([sent, server]) {
    this._clock.take(sent, server, performance.now() / 1000);
    this._pings += 1;
    if (this._pings < PINGS_AT_FIRST) setTimeout(() => this._ping(), 60);
  }

  _on_answer([id, address, ...args]) {
    const asked = this._asked.get(id);
    if (asked) {
      asked.answers.push([address, ...args]);
      if (asked.ended && DONE.has(address)) this._settle(id, asked);
    } else if (address === "/fail") {
      // Of a command that was carried out before: a load that did not come to its end, say.
      this._tell("refused", { address: args[0], args: [], reason: String(args[1]) });
    }
    this._tell("answer", [id, address, ...args]);
  }

  _on_end(id) {
    const asked = this._asked.get(id);
    if (!asked) return;
    asked.ended = true;
    if (!asked.later || asked.answers.some(([address]) => DONE.has(address))) this._settle(id, asked);
  }

  _settle(id, asked) {
    this._asked.delete(id);
    const failed = asked.answers.find(([address]) => address === "/fail");
    if (failed) asked.reject(new Error(String(failed[2])));
    else asked.resolve(asked.answers);
  }
}

function defaultUrl() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}/live`;
}

export const live = new Live();
