class EarProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.parts = [];
    this.first = null;
    this.port.onmessage = () => this.port.postMessage({ first: this.first, parts: this.parts });
  }

  process([[left, right]]) {
    this.first ??= currentFrame;
    const silence = new Float32Array(128);
    this.parts.push([left?.slice() ?? silence, right?.slice() ?? left?.slice() ?? silence]);
    return true;
  }
}

registerProcessor("ear", EarProcessor);
