class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.parts = [];
    this.frames = [];
    this.clocks = [];
    this.port.onmessage = ({ data: { latest } }) => this.port.postMessage({
      frames: this.frames.slice(-latest), parts: this.parts.slice(-latest), clocks: this.clocks.slice(-latest),
    });
  }

  process([[left, right]]) {
    this.frames.push(currentFrame); // a quantum may be skipped while the graph is changed
    this.clocks.push(Date.now() / 1000 - currentTime);
    const silence = new Float32Array(128);
    this.parts.push([left?.slice() ?? silence, right?.slice() ?? left?.slice() ?? silence]);
    return true;
  }
}

registerProcessor("capture", CaptureProcessor);
