class EarProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.parts = [];
    this.first = null;
    this.clocks = [];
    this.port.onmessage = () => this.port.postMessage({
      first: this.first, parts: this.parts, clocks: this.clocks,
    });
  }

  process([[left, right]]) {
    this.first ??= currentFrame;
    this.clocks.push(Date.now() / 1000 - currentTime);
    const silence = new Float32Array(128);
    this.parts.push([left?.slice() ?? silence, right?.slice() ?? left?.slice() ?? silence]);
    return true;
  }
}

registerProcessor("ear", EarProcessor);
