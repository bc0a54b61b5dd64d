class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.parts = [];
    this.frames = [];
    this.clocks = [];
    this.port.onmessage = () => this.port.postMessage({
      frames: this.frames, parts: this.parts, clocks: this.clocks,
    });
  }

  process([[left, right]]) {
    this.frames.push(currentFrame); // a quantum may be left out while the graph is changed
    this.clocks.push(Date.now() / 1000 - currentTime);
    const silence = new Float32Array(128);
    this.parts.push([left?.slice() ?? silence, right?.slice() ?? left?.slice() ?? silence]);
    return true;
  }
}

registerProcessor("capture", CaptureProcessor);
