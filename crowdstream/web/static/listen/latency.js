// How much sound the ring should hold: enough for the network's jitter, and otherwise so much that
// it becomes audible `hold` seconds after the mix, on every device alike.

export const HOLD = 0.15;
const BUCKETS = 15; // seconds of history
const WARM = 1; // seconds after a start that are discarded: the page was still being built
const SAFETY = 0.004;
const UNDERRUN = 0.02; // seconds added after each gap
const FALL = 0.0002; // per second: how fast the target falls, slow enough for the player to follow
const UNKNOWN = 0.08; // target in seconds while the server's clock is unknown
const PONGS = 20; // clock readings that are kept; the fastest round trip counts
const SAME = 0.05; // s by which two clocks may drift while these are kept
const MAX_BUFFER_SECONDS = 1;

export class Latency {
  constructor(hold = HOLD) {
    this.hold = hold;
    this.pongs = [];
    this.reset();
  }

  // Forget the delays of the previous connection.
  reset() {
    this.buckets = [];
    this.chunk = 0.02;
    this.floor = 0;
    this.wanted = 0;
    this.at = null;
    this.since = null;
    this.warm = false;
    this.fresh = false; // whether the clock was read since then
  }

  // A chunk that ends at `end` (server's clock) was ready at `now` (this machine's clock).
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

  // A ping sent at `sent` was answered at `server` (server's clock); the pong arrived at `now`.
  pong(sent, server, now) {
    const trip = now - sent;
    const offset = server - (sent + now) / 2;
    // The clock of a machine that was suspended has stood still, and that of a restarted server
    // counts from 0 again: what was measured before would delay the sound for more than an hour.
    const differs = (one) => Math.abs(one.offset - offset) > (one.trip + trip) / 2 + SAME;
    if (this.pongs.some(differs)) {
      this.pongs = [];
      this.reset();
    }
    this.fresh = true;
    this.pongs.push({ trip, offset });
    if (this.pongs.length > PONGS) this.pongs.shift();
  }

  // Difference to add to this machine's clock to get the server's, in seconds; null: unknown.
  get offset() {
    if (!this.fresh) return null;
    return this.pongs.reduce((best, pong) => (pong.trip < best.trip ? pong : best)).offset;
  }

  // Mean seconds from the mix to the ring, for the last frame of a chunk.
  get way() {
    const sum = this.buckets.reduce((total, bucket) => total + bucket.sum, 0);
    const count = this.buckets.reduce((total, bucket) => total + bucket.count, 0);
    return count === 0 || this.offset === null ? null : sum / count + this.offset;
  }

  // Delay of the latest chunk relative to the earliest one.
  get jitter() {
    if (this.buckets.length === 0) return 0;
    const most = Math.max(...this.buckets.map((bucket) => bucket.most));
    return most - Math.min(...this.buckets.map((bucket) => bucket.least));
  }

  gap() {
    this.floor = Math.min(MAX_BUFFER_SECONDS, Math.max(this.floor, this.wanted) + UNDERRUN);
  }

  // Seconds that the ring should hold on average. `output`: seconds from the player to the ear;
  // `taken`: seconds that the player may take at once, plus the reserve for its fade-out.
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

  // Seconds from the mix to the ear if the ring holds `fill` seconds on average; null: unknown.
  total(fill, output) {
    const way = this.way;
    return way === null ? null : way + fill + this.chunk / 2 + output;
  }
}
