// The server's clock, estimated from pings.
//
// A ping that took the shortest way says most: its answer was half of the way old, give or take
// the difference between there and back. So of the latest pings the fastest one counts, and the
// estimate moves there slowly, so that no playhead jumps.

const KEPT = 24; // pings: the latest three quarters of a minute
const SLEW = 0.02; // s that the estimate moves at most in a second
const STEP = 0.25; // s of error from which it jumps: the machine has slept

export class ServerClock {
  constructor() {
    this._samples = [];
    this._offset = null; // server's time less the page's, as it is used
    this._target = 0;
    this._moved = 0;
  }

  /** A pong: sent and come at the page's times, answered at the server's; all in seconds. */
  take(sent, server, come) {
    const trip = come - sent;
    if (trip < 0) return;
    this._samples.push({ trip, offset: server - (sent + come) / 2 });
    if (this._samples.length > KEPT) this._samples.shift();
    this._target = this._samples.reduce((best, one) => (one.trip < best.trip ? one : best)).offset;
    if (this._samples.length === 1 || Math.abs(this._target - this._offset) > STEP) {
      this._offset = this._target;
    }
  }

  /** A time that the server put on a message, good enough until the first pong is here. */
  hint(server) {
    if (this._samples.length === 0) this._offset = server - performance.now() / 1000;
  }

  /** The server's time now, in seconds. */
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

  /** Half of the fastest trip: how far the estimate may be off, in seconds. */
  get error() {
    return this._samples.length ? Math.min(...this._samples.map((one) => one.trip)) / 2 : Infinity;
  }
}
