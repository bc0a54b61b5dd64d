// The worker: keeps the connection, decodes, and fills the ring, even while the page is busy.

import { Decoder, knowsOpus } from "./decode.js";
import { Joiner } from "./joiner.js";
import { Latency } from "./latency.js";
import { Stalls } from "./stall.js";
import { FILL, GAPS, PLAYING, QUANTUM, RATE, Ring, SKIPS, SPEED, TARGET } from "./ring.js";

const TICK = 200; // ms between two reports to the server and to the page
const RETRY_LEAST = 300; // ms before reconnecting; doubles after each failure
const RETRY_MOST = 5000;
const CLOCK = 500; // ms to wait for the server's clock before playback starts
const DECODING = 15; // chunks of 20 ms in the decoder's queue: it cannot keep up
const SILENT = 4000; // ms without a chunk, after which the connection is closed

// The writing end of the ring: direct in shared memory, otherwise through a port.
class Sink {
  constructor(shared, port) {
    this.ring = shared === null ? null : new Ring(shared);
    this.port = port;
    this.fields = this.ring?.fields ?? new Int32Array(16);
    if (port !== null) {
      port.onmessage = (event) => {
        this.fields = event.data.fields;
      };
    }
  }

  begin(rate) {
    this.rate = rate;
    this.carry({ begin: rate });
  }

  write(samples) {
    this.carry({ samples }, [samples.buffer]);
  }

  target(seconds) {
    if (this.rate) this.carry({ target: Math.round(seconds * this.rate) });
  }

  carry(message, transfer = []) {
    if (this.ring !== null) this.ring.apply(message);
    else this.port.postMessage(message, transfer);
  }

  get(field) {
    return Atomics.load(this.fields, field);
  }
}

class Connection {
  constructor({ shared, port, url, output, burst, hold }) {
    this.sink = new Sink(shared, port);
    this.joiner = new Joiner(this.sink);
    this.latency = new Latency(hold);
    this.output = output;
    this.burst = burst;
    this.gaps = null;
    this.retry = RETRY_LEAST;
    this.socket = null;
    this.name = "";
    this.formats = [];
    this.bytes = 0;
    this.have = null;
    this.stalls = new Stalls();
    this.here = 0; // gaps caused by this computer and not by the network
    this.total = 0;
    this.reportedAt = this.tickedAt = performance.now();
    this.timer = setInterval(() => this.tick(), TICK);
    this.open(url);
  }

  open(url) {
    this.url = url;
    clearTimeout(this.again);
    this.close();
    this.latency.reset();
    this.joiner.reset();
    this.have = null;
    this.chunkAt = this.openedAt = performance.now();
    const decoder = new Decoder((head, samples) => this.sound(head, samples), (error) => {
      postMessage({ notice: `Opus could not be decoded: ${error.message}` });
      socket.close();
    });
    this.decoder = decoder;
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.ping();
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      if (typeof event.data === "string") this.onText(JSON.parse(event.data));
      else this.chunk(decoder.feed(event.data), event.data.byteLength);
    };
    socket.onclose = (event) => {
      decoder.close();
      if (socket === this.socket) this.lost(event.reason);
    };
    this.socket = socket;
  }

  close() {
    const socket = this.socket;
    this.socket = null;
    if (socket !== null) socket.close();
  }

  lost(reason) {
    this.socket = null;
    postMessage({ state: "connecting", notice: reason });
    this.again = setTimeout(() => this.open(this.url), this.retry);
    this.retry = Math.min(2 * this.retry, RETRY_MOST);
  }

  chunk(head, bytes) {
    this.retry = RETRY_LEAST;
    this.chunkAt = performance.now();
    this.bytes += bytes;
    this.name = head.name;
    this.have = head.frame + Math.round(head.seconds * head.streamRate);
  }

  sound(head, samples) {
    this.joiner.put(head, samples);
    const now = performance.now() / 1000;
    this.latency.arrived(now, head.at + head.seconds, head.seconds);
    // Playback needs a target, which waits for the server's clock: a stream that starts at the right
    // position need not be moved there slowly.
    const known = this.latency.offset !== null || performance.now() - this.openedAt > CLOCK;
    if (known && this.sink.get(TARGET) === 0) this.aim(now);
  }

  onText(message) {
    if (message.hello !== undefined) {
      this.formats = message.hello.formats;
      postMessage({ notice: "" });
    }
    if (message.refused !== undefined) postMessage({ notice: message.refused });
    if (message.why !== undefined) postMessage({ notice: message.why });
    if (message.pong !== undefined) {
      const [sent, server] = message.pong;
      this.latency.pong(sent, server, performance.now() / 1000);
    }
  }

  ping() {
    this.send({ ping: performance.now() / 1000 });
  }

  send(report) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(report));
  }

  aim(now) {
    const taken = this.burst + 2 * this.sink.get(QUANTUM) / 1e6;
    this.sink.target(this.latency.target(now, this.output, taken));
  }

  tick() {
    const now = performance.now();
    this.stalls.tick(now / 1000, (this.tickedAt + TICK) / 1000);
    // Chunks that arrived while this thread was stalled have not been read yet.
    if (now - this.tickedAt > TICK + SILENT / 4) this.chunkAt = Math.max(this.chunkAt, now - TICK);
    this.tickedAt = now;
    if (this.decoder.waiting > DECODING) this.stalls.add(now / 1000, this.decoder.waiting * 0.02);
    if (this.socket !== null && now - this.chunkAt > SILENT) {
      this.close();
      this.lost("the stream has stopped");
      return;
    }
    const held = this.stalls.longest(now / 1000);
    if (this.have !== null) {
      this.send({ have: this.have, ping: now / 1000, held: Math.round(1000 * held) / 1000 });
    }
    const gaps = this.sink.get(GAPS);
    if (this.gaps !== null && gaps !== this.gaps) this.latency.gap();
    this.gaps = gaps;
    if (this.sink.get(TARGET) !== 0) this.aim(now / 1000);
    this.report(now);
  }

  // The number of gaps so far. A gap that follows a stall was caused by this computer.
  count(now) {
    const total = this.sink.get(GAPS) + this.sink.get(SKIPS) + this.joiner.jumps;
    if (total > this.total && this.stalls.longest(now / 1000) > 0) this.here += total - this.total;
    this.total = total;
    return total;
  }

  report(now) {
    const { sink, latency } = this;
    const rate = sink.get(RATE) || 1;
    const fill = sink.get(FILL) / rate;
    const playing = sink.get(PLAYING) === 1;
    const waiting = this.have === null ? "connecting" : "buffering";
    const passed = now - this.reportedAt;
    const bits = passed > 0 ? 8 * this.bytes / passed : 0; // bits per ms: kbit/s
    this.reportedAt = now;
    this.bytes = 0;
    postMessage({
      state: playing ? "playing" : waiting,
      reading: {
        format: this.name, formats: this.formats, rate, bits, fill, output: this.output,
        target: sink.get(TARGET) / rate, speed: sink.get(SPEED),
        latency: playing ? latency.total(fill, this.output) : null,
        way: latency.way, jitter: latency.jitter, offset: latency.offset,
        gaps: this.count(now), here: this.here, held: this.stalls.longest(now / 1000),
      },
    });
  }

  stop() {
    clearTimeout(this.again);
    clearInterval(this.timer);
    this.close();
    // Discard what the ring still holds: the player fades out.
    if (this.sink.rate) this.sink.begin(this.sink.rate);
  }
}

let connection = null;

onmessage = async ({ data }) => {
  if (data.ask === "opus") {
    postMessage({ opus: await knowsOpus() });
  } else if (data.start !== undefined) {
    connection?.stop();
    connection = new Connection(data.start);
  } else if (connection !== null) {
    if (data.output !== undefined) connection.output = data.output;
    if (data.stall !== undefined) connection.stalls.add(performance.now() / 1000, data.stall);
    if (data.url !== undefined) connection.open(data.url);
    if (data.stop) {
      connection.stop();
      connection = null;
    }
  }
};
