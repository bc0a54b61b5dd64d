// Detects other tabs of this browser that play the same stream, which would be heard twice.
//
// Tabs exchange messages. The timers of a background tab are throttled, but messages are not: a
// playing tab polls the others, and a tab that does not answer counts as closed.

const NAME = "crowdstream.listen";
const POLL_MS = 2000;
const MAX_SILENT = 3; // unanswered polls, after which a tab counts as closed

// Events: "change", after `others`, the number of other playing tabs, has changed.
export class Twice extends EventTarget {
  constructor(Channel = globalThis.BroadcastChannel, every = POLL_MS) {
    super();
    this.others = 0;
    this.playing = false;
    this.stop = () => {}; // called when another tab asks this one to stop
    this._tabs = new Map(); // unanswered polls by name of a playing tab
    this._name = `${Date.now()}-${Math.random()}`;
    if (Channel === undefined) return;
    this._channel = new Channel(NAME);
    this._channel.onmessage = ({ data }) => this._receive(data);
    setInterval(() => this._poll(), every);
    addEventListener("pagehide", () => this.set(false));
  }

  // Set whether this tab plays.
  set(playing) {
    if (playing === this.playing) return;
    this.playing = playing;
    this._send({ plays: playing });
    if (playing) this._send({ ask: true });
    this._count();
  }

  // Stop the other tabs.
  silence() {
    this._send({ stop: true });
  }

  _send(message) {
    if (this._channel) this._channel.postMessage({ from: this._name, ...message });
  }

  _poll() {
    if (!this.playing) return;
    for (const [name, missed] of this._tabs) {
      if (missed >= MAX_SILENT) this._tabs.delete(name);
      else this._tabs.set(name, missed + 1);
    }
    this._count();
    this._send({ ask: true });
  }

  _receive({ from, plays, ask, stop }) {
    if (plays === true) this._tabs.set(from, 0);
    if (plays === false) this._tabs.delete(from);
    if (ask && this.playing) this._send({ plays: true });
    if (stop && this.playing) this.stop();
    this._count();
  }

  _count() {
    const others = this.playing ? this._tabs.size : 0;
    if (others === this.others) return;
    this.others = others;
    this.dispatchEvent(new Event("change"));
  }
}
