// How long this computer was held up: a thread whose timer comes late had no time for the sound.
// What the network is late with is something else, and looks the same from the server.

const KEPT = 3; // s that a stall explains what goes wrong afterwards
const LATE = 0.1; // s by which a timer is late for other reasons

export class Stalls {
  constructor() {
    this._stalls = []; // [when it ended, how long it lasted], in seconds
  }

  // A timer that was due at `due` came at `now`; in seconds.
  tick(now, due) {
    this.add(now, now - due);
  }

  // A stall of `seconds`, which ended at `now`.
  add(now, seconds) {
    if (seconds > LATE) this._stalls.push([now, seconds]);
    while (this._stalls.length && this._stalls[0][0] < now - KEPT) this._stalls.shift();
  }

  // The longest one of the latest, in seconds.
  longest(now) {
    return this._stalls.reduce((most, [at, long]) => (at < now - KEPT ? most : Math.max(most, long)), 0);
  }
}
