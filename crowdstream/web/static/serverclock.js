// An estimate of the server's clock, from pings.
//
// The round trip bounds the error of an estimate: it assumes that both directions take equally
// long. The fastest of the recent pings is therefore used, and the estimate approaches it slowly
// so that no playhead jumps.

const KEPT = 24; // pings: the last 45 seconds
const SLEW = 0.02; // s by which the estimate may change per second
const STEP = 0.25; // s of error from which the estimate jumps: the machine was suspended

export class ServerClock {
  constructor() {
    this._samples = [];
    this._offset = null; // server's time minus the page's time, as used
    this._target = 0;
    this._moved = 0;
  }

  /** Add a pong: sent and received by the page's clock, answered by the server's; in seconds. */
  take(sent, server, come) {
    const trip = come - sent;
    if (trip < 0) return;
    const offset = server - (sent + come) / 2;
    // The clock of a machine that was suspended has stood still: the earlier pings were before that.
    if (Math.abs(offset - this._target) > STEP + trip) this._samples = [];
    this._samples.push({ trip, offset });
    if (this._samples.length > KEPT) this._samples.shift();
    this._target = this._samples.reduce((best, one) => (one.trip < best.trip ? one : best)).offset;
    if (this._samples.length === 1 || Math.abs(this._target - this._offset) > STEP) {
      this._offset = this._target;
    }
  }

  /** Use the time in a message until the first pong arrives. */
  hint(server) {
    if (this._samples.length === 0) this._offset = server - performance.now() / 1000;
  }

  /** The server's time in seconds. */
  now() {
    const here = performance.now() / 1000;
    if (this._offset === null) return here;
    const most = SLEW * Math.min(1, Math.max(0, here - this._moved));
    this._moved = here;
    if (this._samples.length) {
      this._offset += Math.max(-most, Math.min(most, this._target - this._offset));
    }
    return here + this._offset;
  }

  /** Half of the fastest round trip: the maximum error of the estimate in seconds. */
  get error() {
    return this._samples.length ? Math.min(...this._samples.map((one) => one.trip)) / 2 : Infinity;
  }
}
