// Playhead positions as audible now.
//
// The server reports 30 times a second the playheads that it renders. Their sound becomes audible
// later, by the latency. Recent reports are therefore kept, and the one that is audible now is
// looked up. Between two reports, and after the latest, the playhead is extrapolated at its speed.

const KEPT_SECONDS = 2; // longer than any latency
const AHEAD = 0.5; // s of extrapolation without a report; after that the position is unknown
const JUMP_SECONDS = 0.03; // a report further off the extrapolated line than this is a jump

export class Playheads {
  constructor(live) {
    this._live = live;
    this._reports = [];
  }

  /** Discard all reports: the server may have restarted. */
  forget() {
    this._reports = [];
  }

  /** Store a report. */
  add(now) {
    const last = this._reports[this._reports.length - 1];
    if (last && now.at + now.latency < last.ear) this._reports = [];
    this._reports.push({ ear: now.at + now.latency, now });
    while (this._reports.length > 2 && this._reports[1].ear < now.t - KEPT_SECONDS) {
      this._reports.shift();
    }
  }

  /** The audible playhead of a deck: frame, speed, and whether it plays. */
  deck(index) {
    const found = this._find();
    if (!found) return { frame: this._cue(index, this._rate()), speed: 0, playing: false };
    const [report, next, passed] = found;
    const [position, speed, playing] = report.now.decks[index];
    const rate = this._rate();
    if (!playing) return { frame: this._cue(index, rate), speed: 0, playing: false };
    let frame = position + speed * rate * passed;
    if (next) {
      // Interpolate towards the next report, unless the playhead jumps in between.
      const [there, after] = next.now.decks[index];
      const span = next.ear - report.ear;
      const guess = position + speed * rate * span;
      const mean = position + ((speed + after) / 2) * rate * span;
      const off = Math.min(Math.abs(there - guess), Math.abs(there - mean));
      if (next.now.decks[index][2] && span > 0 && off < JUMP_SECONDS * rate) {
        frame = position + ((there - position) * passed) / span;
      }
    }
    return { frame: this._looped(index, position, frame, rate), speed, playing: true };
  }

  beat() {
    const found = this._find();
    if (!found) return 0;
    const [report, , passed] = found;
    return report.now.beat + (passed * report.now.bpm) / 60;
  }

  // The report that is audible now, the following one, and the seconds since the former.
  _find() {
    const reports = this._reports;
    if (!reports.length) return null;
    const time = this._live.clock();
    let at = reports.length - 1;
    while (at > 0 && reports[at].ear > time) at -= 1;
    const passed = Math.max(-0.1, Math.min(AHEAD, time - reports[at].ear));
    return [reports[at], reports[at + 1], passed];
  }

  // The frame at which a stopped deck would start.
  _cue(index, rate) {
    const deck = this._live.get(`deck.${"ABCD"[index]}`);
    return deck && deck.cue ? deck.cue * rate : 0;
  }

  // A playhead that was inside the loop stays inside.
  _looped(index, from, frame, rate) {
    const deck = this._live.get(`deck.${"ABCD"[index]}`);
    if (!deck) return frame;
    const [low, high] = deck.loop ? deck.loop.map((s) => s * rate) : [0, 0];
    if (high > low && from >= low && from < high) {
      const length = high - low;
      return low + ((((frame - low) % length) + length) % length);
    }
    return deck.frames ? Math.max(0, Math.min(deck.frames, frame)) : frame;
  }

  _rate() {
    return (this._live.hello && this._live.hello.rate) || 44100;
  }
}
