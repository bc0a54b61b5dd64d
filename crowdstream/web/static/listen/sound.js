// The page's sound: the AudioContext, the source of its samples, and the permission to play.

import { HOLD } from "./latency.js";
import { Ring } from "./ring.js";
import { Scheduled } from "./scheduled.js";

const PUMP = 20; // ms
const LOOK = 1000; // ms between two readings of the output latency
const STALL = 150; // ms by which the timer must be late to count as a stall
const GLIDE = 0.015; // seconds: time constant of volume changes
const FADE = 100; // ms for the player's fade-out after a stop

// Events: "change", after `state`, `notice` or `reading` has changed. States: "off", "blocked" (the
// browser waits for a user gesture), "connecting", "buffering", "playing".
export class Sound extends EventTarget {
  // `url(bus, format)` returns the URL of the stream.
  constructor(url) {
    super();
    this.makeUrl = url;
    this.state = "off";
    this.notice = "";
    this.reading = null;
    this.wanted = false;
    this.volume = 1;
    this.bus = "master";
    this.format = "pcm16";
    this.context = null;
    this.ready = null;
    this.mode = null; // "shared", "port" or "scheduled"
    this.hold = HOLD; // seconds from the mix to the ear, if the network allows it
    this.opus = false; // whether this browser decodes it
  }

  // Call this in the handler of a touch or key event, where browsers allow sound.
  start() {
    this.wanted = true;
    if (this.context === null) this.make();
    this.context.resume().catch(() => {});
    this.begin();
  }

  async begin() {
    if (this.state === "off") this.update(this.allowed ? "connecting" : "blocked");
    this.ready ??= this.prepare();
    try {
      await this.ready;
    } catch (error) {
      this.ready = null;
      this.update("off", `no sound: ${error.message}`);
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
    // Without this an iPhone's mute switch would silence the stream.
    if (navigator.audioSession) navigator.audioSession.type = "playback";
    const Context = globalThis.AudioContext ?? globalThis.webkitAudioContext;
    this.context = new Context({ latencyHint: "balanced" });
    this.output = this.context.createGain();
    this.output.gain.value = this.volume;
    this.output.connect(this.context.destination);
    // "interrupted" is an iOS state, during a call or another program. The next touch resumes.
    this.context.onstatechange = () => {
      if (!this.wanted) return;
      if (!this.allowed) this.update("blocked");
      else if (this.state === "blocked") this.update("connecting");
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
      // In this mode the page's own thread produces the sound, so a stall interrupts it.
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
    this.opus = await this.query("opus");
    this.worker.onmessage = ({ data }) => this.onMessage(data);
    this.worker.onerror = (event) => this.update("off", `no sound: ${event.message}`);
    setInterval(() => this.running && this.worker.postMessage({ output: this.latency }), LOOK);
  }

  // Ask the worker about a feature of this browser.
  query(what) {
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
    // The browser requests several quanta at once, depending on the device.
    const burst = this.mode === "scheduled" ? 0 : this.context.baseLatency ?? 0;
    const start = {
      shared: this.shared, port, url: this.url, output: this.latency, burst, hold: this.hold,
    };
    this.worker.postMessage({ start }, port === null ? [] : [port]);
  }

  // Receive the ring writer's messages in this thread. Unlike timers, a worker's messages are not
  // throttled in a background page.
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

  // Seconds from the player to the ear, as far as the browser knows them.
  get latency() {
    const { context } = this;
    const output = context.outputLatency || context.baseLatency || 0;
    return output + (this.mode === "scheduled" ? this.scheduled.ahead : 0);
  }

  onMessage(data) {
    if (!this.wanted) return;
    if (data.notice !== undefined) this.notice = data.notice;
    if (data.reading !== undefined) this.reading = data.reading;
    this.update(this.allowed ? data.state ?? this.state : "blocked");
  }

  update(state, notice = this.notice) {
    this.state = state;
    this.notice = notice;
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
    this.update("off", "");
  }

  // Linear gain; 1 is the level of the mix.
  setVolume(volume) {
    this.volume = volume;
    if (this.context !== null) {
      this.output.gain.setTargetAtTime(volume, this.context.currentTime, GLIDE);
    }
  }

  // Switch to another bus or format: {bus, format}.
  choose(choice) {
    Object.assign(this, choice);
    if (this.running) this.worker.postMessage({ url: this.url });
  }
}
