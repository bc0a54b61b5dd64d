// The AudioWorkletProcessor: runs a player on the audio thread.

import { Player } from "./player.js";
import { Ring } from "./ring.js";

const REPORT_QUANTA = 32; // between two reports through the port: about 90 ms

class ListenProcessor extends AudioWorkletProcessor {
  // `processorOptions.buffer`: a shared ring. Without it, the first message brings the port of the
  // ring's writer.
  constructor(options) {
    super();
    const buffer = options.processorOptions.buffer;
    this.ring = new Ring(buffer);
    this.player = null;
    this.writer = null;
    this.passed = 0;
    this.port.onmessage = (event) => {
      this.writer = event.data.port;
      this.writer.onmessage = (message) => this.ring.apply(message.data);
    };
  }

  process(_inputs, [[left, right]]) {
    if (this.player === null) this.player = new Player(this.ring, sampleRate, left.length);
    this.player.process(left, right ?? left);
    this.passed += 1;
    if (this.writer !== null && this.passed % REPORT_QUANTA === 0) {
      this.writer.postMessage({ fields: this.ring.fields.slice() });
    }
    return true;
  }
}

registerProcessor("listen", ListenProcessor);
