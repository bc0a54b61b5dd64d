// Runs in a page before its own scripts: everything that is connected to a context's destination is
// also recorded, on the audio thread, so that the exact output of the audio graph is known.
(() => {
  const BLOCK = 16384; // frames that the page's thread records at once
  const QUANTUM = 128; // frames that the audio thread processes at once
  const captures = new Map();
  const connect = AudioNode.prototype.connect;

  class Capture {
    constructor(context) {
      this.context = context;
      this.input = context.createGain();
      this.ready = context.audioWorklet ? this.record() : this.recordHere();
    }

    async record() {
      await this.context.audioWorklet.addModule("/test/capture-processor.js");
      this.node = new AudioWorkletNode(this.context, "capture");
      connect.call(this.input, this.node);
      connect.call(this.node, this.context.destination);
    }

    // Without a worklet, record on the page's thread.
    recordHere() {
      this.parts = [];
      this.node = this.context.createScriptProcessor(BLOCK, 2, 2);
      this.node.onaudioprocess = (event) => {
        const { inputBuffer } = event;
        this.parts.push([0, 1].map((channel) => inputBuffer.getChannelData(channel).slice()));
      };
      connect.call(this.input, this.node);
      connect.call(this.node, this.context.destination);
    }

    // The latest entries of each list that cover `seconds`.
    async take(seconds) {
      await this.ready;
      const frames = seconds * this.context.sampleRate;
      if (this.parts) {
        return { frames: [], clocks: [], parts: this.parts.slice(-Math.ceil(frames / BLOCK)) };
      }
      return new Promise((resolve) => {
        this.node.port.onmessage = (event) => resolve(event.data);
        this.node.port.postMessage({ latest: Math.ceil(frames / QUANTUM) });
      });
    }
  }

  AudioNode.prototype.connect = function connected(target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      const { context } = this;
      if (!captures.has(context)) captures.set(context, new Capture(context));
      connect.call(this, captures.get(context).input);
    }
    return connect.call(this, target, ...rest);
  };

  // {rate, frames, clocks, left, right}: the output of the last `seconds`, as base64 of float32.
  // For
  // each 128 frames: `frames`, the context's frame of the first one; `clocks`, the difference
  // between
  // system clock and context time when they were computed.
  globalThis.heard = async (seconds = Infinity) => {
    const [[context, capture]] = [...captures];
    const { frames, parts, clocks } = await capture.take(seconds);
    const channel = (index) => {
      const blob = new Blob(parts.map((part) => part[index]));
      return blob.arrayBuffer().then((buffer) => {
        const bytes = new Uint8Array(buffer);
        let text = "";
        for (let i = 0; i < bytes.length; i += 32768) {
          text += String.fromCharCode(...bytes.subarray(i, i + 32768));
        }
        return btoa(text);
      });
    };
    const [left, right] = [await channel(0), await channel(1)];
    return { rate: context.sampleRate, frames, clocks, left, right };
  };
  globalThis.heardContexts = () => [...captures.keys()];
})();
