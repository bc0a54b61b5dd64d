// Whether another tab or window of this browser plays the same sound: then it is heard twice.
//
// They say so to each other. Timers of a tab in the background are slowed down, messages are not:
// so a tab that plays asks the others, and one that does not answer has gone.

const NAME = "crowdstream.listen";
const ASK_MS = 2000;
const MAX_SILENT = 3; // questions without an answer, after which a tab counts as gone

// Events: "change", after `others`, the number of other tabs that play, has changed.
export class Twice extends EventTarget {
  constructor(Channel = globalThis.BroadcastChannel, every = ASK_MS) {
    super();
    this.others = 0;
    this.playing = false;
    this.stop = () => {}; // another tab wants this one to be silent
    this._tabs = new Map(); // name of a tab that plays: questions it has not answered
    this._name = `${Date.now()}-${Math.random()}`;
    if (Channel === undefined) return;
    this._channel = new Channel(NAME);
    this._channel.onmessage = ({ data }) => this._hear(data);
    setInterval(() => this._ask(), every);
    addEventListener("pagehide", () => this.set(false));
  }

  // This tab plays, or does not.
  set(playing) {
    if (playing === this.playing) return;
    this.playing = playing;
    this._send({ plays: playing });
    if (playing) this._send({ ask: true });
    this._count();
  }

  // Have the others be silent.
  silence() {
    this._send({ stop: true });
  }

  _send(what) {
    if (this._channel) this._channel.postMessage({ from: this._name, ...what });
  }

  _ask() {
    if (!this.playing) return;
    for (const [name, missed] of this._tabs) {
      if (missed >= MAX_SILENT) this._tabs.delete(name);
      else this._tabs.set(name, missed + 1);
    }
    this._count();
    this._send({ ask: true });
  }

  _hear({ from, plays, ask, stop }) {
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
