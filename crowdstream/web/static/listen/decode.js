// Decode chunks (layout: docs/development/listening.md) to float samples.

const HEAD = 28;
const PCM16 = 1;
const MULAW = 2;
const OPUS = 3;
const PACKET_US = 20000; // microseconds per Opus packet
const OPUS_CONFIG = { codec: "opus", sampleRate: 48000, numberOfChannels: 2 };
const NAMES = {
  [PCM16]: "PCM, 16 bit", [MULAW]: "mu-law, 8 bit", [OPUS]: "Opus",
};

const MULAW_TABLE = Float32Array.from({ length: 256 }, (_, code) => {
  const bits = ~code & 0xff;
  const size = (((bits & 15) * 2 + 33) << (bits >> 4 & 7)) - 33;
  return (bits & 0x80 ? -size : size) * 4 / 32768;
});

// Whether this browser decodes raw Opus packets.
export async function knowsOpus() {
  if (globalThis.AudioDecoder === undefined) return false;
  try {
    return (await AudioDecoder.isConfigSupported(OPUS_CONFIG)).supported === true;
  } catch {
    return false;
  }
}

// The header of a chunk; `frame` in frames of the stream, `at` and `seconds` in seconds.
export function parseHead(buffer) {
  const view = new DataView(buffer);
  const form = view.getUint8(0);
  const channels = view.getUint8(1);
  const frames = view.getUint16(2, true);
  const rate = view.getUint32(4, true);
  return {
    form, channels, frames, rate, seconds: frames / rate,
    name: NAMES[form] + (channels === 1 ? ", mono" : ""),
    streamRate: view.getUint32(8, true),
    frame: Number(view.getBigInt64(12, true)),
    at: view.getFloat64(20, true),
  };
}

// Calls `sound(head, samples)` for each chunk, in order, with interleaved stereo samples.
export class Decoder {
  constructor(sound, failed) {
    this.sound = sound;
    this.failed = failed;
    this.opus = null;
    this.heads = new Map();
    this.fed = 0;
  }

  // Number of chunks in the decoder's queue.
  get waiting() {
    return this.opus === null ? 0 : this.opus.decodeQueueSize;
  }

  feed(buffer) {
    const head = parseHead(buffer);
    if (head.form === OPUS) {
      this.feedOpus(head, buffer);
    } else if (head.form === PCM16) {
      this.sound(head, spread(new Int16Array(buffer, HEAD), head, (value) => value / 32768));
    } else if (head.form === MULAW) {
      this.sound(head, spread(new Uint8Array(buffer, HEAD), head, (code) => MULAW_TABLE[code]));
    }
    return head;
  }

  feedOpus(head, buffer) {
    if (this.opus === null) {
      this.opus = new AudioDecoder({
        output: (data) => this.decoded(data),
        error: (error) => this.failed(error),
      });
      this.opus.configure(OPUS_CONFIG);
    }
    const timestamp = this.fed * PACKET_US; // identifies the packet in the decoder's output
    this.heads.set(this.fed, head);
    this.fed += 1;
    this.opus.decode(new EncodedAudioChunk({ type: "key", timestamp, data: new Uint8Array(buffer, HEAD) }));
  }

  decoded(data) {
    // Some browsers return timestamps that are a microsecond too early.
    const number = Math.round(data.timestamp / PACKET_US);
    const head = this.heads.get(number);
    for (const known of this.heads.keys()) {
      if (known <= number) this.heads.delete(known);
    }
    if (head !== undefined) {
      const frames = Math.min(data.numberOfFrames, head.frames);
      const samples = new Float32Array(2 * frames);
      const plane = new Float32Array(data.numberOfFrames);
      for (let channel = 0; channel < 2; channel += 1) {
        data.copyTo(plane, {
          planeIndex: Math.min(channel, data.numberOfChannels - 1), format: "f32-planar",
        });
        for (let i = 0; i < frames; i += 1) samples[2 * i + channel] = plane[i];
      }
      this.sound(head, samples);
    }
    data.close();
  }

  close() {
    if (this.opus !== null && this.opus.state !== "closed") this.opus.close();
  }
}

function spread(values, head, convert) {
  const samples = new Float32Array(2 * head.frames);
  const mono = head.channels === 1;
  for (let i = 0; i < samples.length; i += 1) samples[i] = convert(values[mono ? i >> 1 : i]);
  return samples;
}
