// The sound in this page: an AudioContext, what fills it, and what it takes to be allowed to.

import { HOLD } from "./latency.js";
import { Ring } from "./ring.js";
import { Scheduled } from "./scheduled.js";

const PUMP = 20; // ms
const LOOK = 1000; // ms between two looks at the latency of the output
const STALL = 150; // ms by which that thread is late, from which on it counts as held up
const GLIDE = 0.015; // seconds, of the volume
const FADE = 100; // ms, in which the player has gone silent when it was stopped

// Events: "change", after any of `state`, `said` or `reading` has changed. States: "off",
// "blocked" (the browser waits for a touch), "connecting", "buffering", "playing".
export class Sound extends EventTarget {
  // `url(bus, format)`: where to listen.
  constructor(url) {
    super();
    this.makeUrl = url;
    this.state = "off";
    this.said = "";
    this.reading = null;
    this.wanted = false;
    this.volume = 1;
    this.bus = "master";
    this.format = "pcm16";
    this.context = null;
    this.ready = null;
    this.mode = null; // "shared", "port" or "scheduled"
    this.hold = HOLD; // seconds from the mix to the ear, where the network allows it
    this.opus = false; // whether this browser decodes it
  }

  // To be called from within a touch or key event, where browsers allow sound.
  start() {
    this.wanted = true;
    if (this.context === null) this.make();
    this.context.resume().catch(() => {});
    this.begin();
  }

  async begin() {
    if (this.state === "off") this.tell(this.allowed ? "connecting" : "blocked");
    this.ready ??= this.prepare();
    try {
      await this.ready;
    } catch (error) {
      this.ready = null;
      this.tell("off", `no sound: ${error.message}`);
      return;
    }
    if (!this.wanted || this.running) return;
    this.running = true;
    this.connect();
  }

  get allowed() {
    return this.context?.state === "running";
  }

  make() {
    // On an iPhone the switch on the side would silence it otherwise.
    if (navigator.audioSession) navigator.audioSession.type = "playback";
    const Context = globalThis.AudioContext ?? globalThis.webkitAudioContext;
    this.context = new Context({ latencyHint: "balanced" });
    this.output = this.context.createGain();
    this.output.gain.value = this.volume;
    this.output.connect(this.context.destination);
    // "interrupted" is iOS's: by a call, or another program. The next touch brings it back.
    this.context.onstatechange = () => {
      if (!this.wanted) return;
      if (!this.allowed) this.tell("blocked");
      else if (this.state === "blocked") this.tell("connecting");
    };
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.wanted && !this.allowed) this.context.resume().catch(() => {});
    });
  }

  async prepare() {
    const ring = new Ring();
    const shared = ring.buffer instanceof ArrayBuffer ? null : ring.buffer;
    if (this.context.audioWorklet !== undefined) {
      await this.context.audioWorklet.addModule(new URL("processor.js", import.meta.url));
      this.node = new AudioWorkletNode(this.context, "listen", {
        numberOfInputs: 0, outputChannelCount: [2], processorOptions: { buffer: shared },
      });
      this.node.connect(this.output);
      this.mode = shared === null ? "port" : "shared";
    } else {
      this.mode = "scheduled";
      this.scheduled = new Scheduled(this.context, ring, this.output);
      this.ring = ring;
      // Here the page's own thread makes the sound: when it is held up, so is the sound.
      let due = performance.now() + PUMP;
      setInterval(() => {
        const late = performance.now() - due;
        due = performance.now() + PUMP;
        if (!this.running) return;
        if (late > STALL && !document.hidden) this.worker.postMessage({ stall: late / 1000 });
        this.scheduled.pump();
      }, PUMP);
    }
    this.shared = this.mode === "shared" ? shared : null;
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.opus = await this.ask("opus");
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => this.tell("off", `no sound: ${event.message}`);
    setInterval(() => this.running && this.worker.postMessage({ output: this.latency }), LOOK);
  }

  // What the worker knows of this browser.
  ask(what) {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => resolve(data[what]);
      this.worker.onerror = (event) => reject(new Error(event.message ?? "the worker is missing"));
      this.worker.postMessage({ ask: what });
    });
  }

  connect() {
    let port = null;
    if (this.mode !== "shared") {
      const channel = new MessageChannel();
      port = channel.port1;
      if (this.mode === "port") this.node.port.postMessage({ port: channel.port2 }, [channel.port2]);
      else this.read(channel.port2);
    }
    // A browser asks for several quanta at a time, as many as its device wants.
    const burst = this.mode === "scheduled" ? 0 : this.context.baseLatency ?? 0;
    const start = {
      shared: this.shared, port, url: this.url, output: this.latency, burst, hold: this.hold,
    };
    this.worker.postMessage({ start }, port === null ? [] : [port]);
  }

  // The ring's writer speaks to this thread; a worker's messages come in time also in a page
  // whose timers are slowed down because nobody looks.
  read(port) {
    port.onmessage = ({ data }) => {
      this.ring.apply(data);
      this.scheduled.pump();
      if (data.samples !== undefined) port.postMessage({ fields: this.ring.fields.slice() });
    };
  }

  get url() {
    return this.makeUrl(this.bus, this.opus ? this.format : "pcm16");
  }

  // Seconds from the player to the ear, as far as the browser knows.
  get latency() {
    const { context } = this;
    const output = context.outputLatency || context.baseLatency || 0;
    return output + (this.mode === "scheduled" ? this.scheduled.ahead : 0);
  }

  hear(data) {
    if (!this.wanted) return;
    if (data.said !== undefined) this.said = data.said;
    if (data.reading !== undefined) this.reading = data.reading;
    this.tell(this.allowed ? data.state ?? this.state : "blocked");
  }

  tell(state, said = this.said) {
    this.state = state;
    this.said = said;
    this.dispatchEvent(new Event("change"));
  }

  stop() {
    this.wanted = false;
    if (this.running) {
      this.running = false;
      this.worker.postMessage({ stop: true });
      setTimeout(() => {
        if (this.wanted) return;
        this.scheduled?.rest();
        this.context.suspend();
      }, FADE);
    }
    this.tell("off", "");
  }

  // Linear, 1 is as loud as it was mixed.
  setVolume(volume) {
    this.volume = volume;
    if (this.context !== null) {
      this.output.gain.setTargetAtTime(volume, this.context.currentTime, GLIDE);
    }
  }

  // Another bus or format: {bus, format}.
  choose(choice) {
    Object.assign(this, choice);
    if (this.running) this.worker.postMessage({ url: this.url });
  }
}
