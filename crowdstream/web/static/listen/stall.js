// Detects stalls of this computer: a late timer means that the thread had no time for the sound. To
// the server, stalls look the same as delays of the network.

const KEPT = 3; // s for which a stall explains later gaps
const LATE = 0.1; // s by which a timer may be late for other reasons

export class Stalls {
  constructor() {
    this._stalls = []; // [end, duration], in seconds
  }

  // A timer that was due at `due` fired at `now`; in seconds.
  tick(now, due) {
    this.add(now, now - due);
  }

  // Add a stall of `seconds` that ended at `now`.
  add(now, seconds) {
    if (seconds > LATE) this._stalls.push([now, seconds]);
    while (this._stalls.length && this._stalls[0][0] < now - KEPT) this._stalls.shift();
  }

  // The longest recent stall, in seconds.
  longest(now) {
    return this._stalls.reduce((most, [at, long]) => (at < now - KEPT ? most : Math.max(most, long)), 0);
  }
}
