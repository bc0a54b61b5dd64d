// How much sound should wait in the ring: as much as the network's jitter asks for, and otherwise
// so much that it is heard `hold` seconds after it was mixed, everywhere alike.

export const HOLD = 0.15;
const BUCKETS = 15; // seconds whose chunks are looked back upon
const WARM = 1; // second after a start, whose jitter is that of a page being built
const SAFETY = 0.004;
const UNDERRUN = 0.02; // more after each gap
const FALL = 0.0002; // a second: how fast less is asked for again, which the player can follow
const UNKNOWN = 0.08; // what waits where the server's clock is not known
const PONGS = 20; // clock readings that are kept; the quickest answer counts
const MAX_BUFFER_SECONDS = 1;

export class Latency {
  constructor(hold = HOLD) {
    this.hold = hold;
    this.pongs = [];
    this.reset();
  }

  // Another connection: what was learned of the way does not hold any more.
  reset() {
    this.buckets = [];
    this.chunk = 0.02;
    this.floor = 0;
    this.wanted = 0;
    this.at = null;
    this.since = null;
    this.warm = false;
  }

  // A chunk that ends `end` (server's clock) was ready at `now` (this machine's clock).
  arrived(now, end, seconds) {
    const late = now - end;
    const second = Math.floor(now);
    this.since ??= now;
    if (!this.warm && now - this.since > WARM) {
      this.warm = true;
      this.buckets = [];
    }
    let bucket = this.buckets.at(-1);
    if (bucket === undefined || bucket.second !== second) {
      bucket = { second, most: late, least: late, sum: 0, count: 0 };
      this.buckets.push(bucket);
      if (this.buckets.length > BUCKETS) this.buckets.shift();
    }
    bucket.most = Math.max(bucket.most, late);
    bucket.least = Math.min(bucket.least, late);
    bucket.sum += late;
    bucket.count += 1;
    this.chunk = seconds;
  }

  // A ping sent at `sent` was answered at `server` (its clock); the answer came at `now`.
  pong(sent, server, now) {
    this.pongs.push({ trip: now - sent, offset: server - (sent + now) / 2 });
    if (this.pongs.length > PONGS) this.pongs.shift();
  }

  // What to add to this machine's clock to have the server's, in seconds; null: not known.
  get offset() {
    if (this.pongs.length === 0) return null;
    return this.pongs.reduce((best, pong) => (pong.trip < best.trip ? pong : best)).offset;
  }

  // Seconds from the mix to the ring, on average, for the last frame of a chunk.
  get way() {
    const sum = this.buckets.reduce((total, bucket) => total + bucket.sum, 0);
    const count = this.buckets.reduce((total, bucket) => total + bucket.count, 0);
    return count === 0 || this.offset === null ? null : sum / count + this.offset;
  }

  // How much later than the earliest chunk the latest one came.
  get jitter() {
    if (this.buckets.length === 0) return 0;
    const most = Math.max(...this.buckets.map((bucket) => bucket.most));
    return most - Math.min(...this.buckets.map((bucket) => bucket.least));
  }

  gap() {
    this.floor = Math.min(MAX_BUFFER_SECONDS, Math.max(this.floor, this.wanted) + UNDERRUN);
  }

  // Seconds that should wait on average. `output`: seconds from the player to the ear;
  // `taken`: seconds that the player may take at once, and needs to end softly.
  target(now, output, taken) {
    const passed = this.at === null ? 0 : now - this.at;
    this.at = now;
    this.floor = Math.max(0, this.floor - FALL * passed);
    const way = this.way;
    let next = UNKNOWN;
    if (way !== null) {
      const most = Math.max(...this.buckets.map((bucket) => bucket.most));
      const lateness = most + this.offset - way;
      const needed = taken + this.chunk / 2 + lateness + SAFETY;
      next = Math.max(needed, this.hold - output - way - this.chunk / 2);
    }
    next = Math.min(MAX_BUFFER_SECONDS, Math.max(next, this.floor));
    this.wanted = this.wanted === 0 ? next : Math.max(next, this.wanted - FALL * passed);
    return this.wanted;
  }

  // Seconds from the mix to the ear, when `fill` seconds wait on average; null: not known.
  total(fill, output) {
    const way = this.way;
    return way === null ? null : way + fill + this.chunk / 2 + output;
  }
}
