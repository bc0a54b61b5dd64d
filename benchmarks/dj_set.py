"""A set planned of made tracks, rendered, and measured.

    python -m benchmarks.dj_set FOLDER [--minutes 60] [--tracks 36] > docs/measurements/dj_set.txt

Makes the tracks below FOLDER (those that are there are kept), plans from what is known of them,
and renders. While it renders, it looks at playheads and at each stem as it goes into its deck:

- where a track is in its file when a transition begins and ends, beside its phrase,
- how long two voices, or two basses, are heard at once,
- silences of over 50 ms, and memory,

and afterwards, in the file, at the loudness before, in and after each transition.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.dj_tracks import known_tracks
from crowdstream.control.tracks import first_buffer
from crowdstream.desk.moment import read_moment
from crowdstream.desk.ramps import deck_level_ramp, eq_ramp
from crowdstream.desk.sizes import STEMS, TAP_STEM
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.dj.curve import find_curve
from crowdstream.dj.explain import explain
from crowdstream.dj.picture import picture
from crowdstream.dj.planner import Planner, Wishes
from crowdstream.dj.score import DECKS, Place, places, tempo_map
from crowdstream.dj.set_file import read_set, write_set
from crowdstream.dj.sets import Set
from crowdstream.dj.shelf import of_analyses
from crowdstream.library.loudness import Loudness
from crowdstream.offline.dj_set import cues_of
from crowdstream.offline.renderer import Renderer
from crowdstream.offline.session import Session
from crowdstream.settings import Settings

RATE = 44100
MEMORY = 512 << 20
NOTICED = 10 ** (-20 / 20)  # of its usual level: what is softer is not heard beside another
SILENT = 10 ** (-70 / 20)
HOLE_SECONDS = 0.05
JOIN_SECONDS = 20.0  # before and after a transition, whose loudness is compared
NAMES = ("drums", "bass", "vocals", "other")  # in the deck's order


@dataclass
class Block:
    """A stretch of the render: its end in beats, and the RMS of each track's stems in it."""

    beat: float
    frames: int
    levels: dict[tuple[int, str], float]


@dataclass
class Seen:
    """What was looked at while it rendered."""

    blocks: list[Block] = field(default_factory=list)
    offsets: dict[tuple[int, str], float] = field(default_factory=dict)
    longest_hole: int = 0
    memory: list[int] = field(default_factory=list)


class Watched(Session):
    """A session that looks at playheads and stems after each block."""

    def watch(self, mix: Set) -> Seen:
        """Begin to look; what is seen."""
        self._mix, self._places = mix, places(mix)
        self._rates = [_file_rate(entry.path) for entry in mix.entries]
        self._taps = {
            (deck, stem): TapReader(self.desk, TAP_STEM + STEMS * deck + stem, LISTENERS)
            for deck in range(len(DECKS)) for stem in range(len(NAMES))
        }  # fmt: skip
        self._hole = 0
        self.seen = Seen()
        return self.seen

    def render(self, frames: int) -> np.ndarray:
        """As `Session.render`."""
        out = super().render(frames)
        if hasattr(self, "seen"):
            self._look(out)
        return out

    def _look(self, out: np.ndarray) -> None:
        moment = read_moment(self.desk)
        levels: dict[tuple[int, str], float] = {}
        middle = moment.beat - len(out) / RATE * moment.bpm / 120
        now = {place.deck: place for place in self._places if place.begin <= middle <= place.end}
        for number, deck in enumerate(DECKS):
            gain = float(self.desk.ramps[deck_level_ramp(number)]["value"])
            low = float(self.desk.ramps[eq_ramp(number, 0)]["value"])
            for stem, name in enumerate(NAMES):
                samples = self._taps[number, stem].read()[1]
                if deck in now and len(samples):
                    heard = gain * (low if name == "bass" else 1.0)
                    level = float(np.sqrt(np.mean(np.square(samples)))) * heard
                    levels[now[deck].index, name] = level
        self.seen.blocks.append(Block(moment.beat, len(out), levels))
        for place in self._places:
            if place.begin - 1 < moment.beat < place.end + 1:
                self._phase(place, moment)
        self._holes(out)
        if len(self.seen.blocks) % 500 == 0:
            self.seen.memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    def _phase(self, place: Place, moment: object) -> None:
        # Blocks end where commands act: at the very frame of the beat, or one before it is past.
        beat = float(moment.beat)  # type: ignore[attr-defined]
        frame = float(moment.bpm) / 60 / RATE  # type: ignore[attr-defined]
        for name, at in (("alone", place.alone), ("going", place.going)):
            if not 0 <= beat - at < frame * 1.01 or (place.index, name) in self.seen.offsets:
                continue
            deck = DECKS.index(place.deck)
            track = self.core.mixer.buffers.get(first_buffer(deck))
            if track is None or track.voice is None:
                continue
            entry = self._mix.entries[place.index]
            wanted = entry.second(entry.enter + (beat - place.begin) * entry.ratio)
            found = moment.positions[track.voice]  # type: ignore[attr-defined]
            self.seen.offsets[place.index, name] = found - wanted * self._rates[place.index]

    def _holes(self, out: np.ndarray) -> None:
        quiet = np.abs(out).max(axis=1) < SILENT
        edges = np.flatnonzero(np.diff(quiet.astype(np.int8)))
        if not quiet.any():
            self._hole = 0
            return
        if not len(edges):
            self._hole += len(out)
            self.seen.longest_hole = max(self.seen.longest_hole, self._hole)
            return
        first = int(edges[0]) + 1 if quiet[0] else 0
        self.seen.longest_hole = max(self.seen.longest_hole, self._hole + first)
        runs = np.diff(edges)
        inner = [int(run) for run, edge in zip(runs, edges[:-1], strict=True) if quiet[edge + 1]]
        self.seen.longest_hole = max(self.seen.longest_hole, *inner, 0)
        self._hole = len(out) - 1 - int(edges[-1]) if quiet[-1] else 0


def _file_rate(path: str) -> int:
    file = next(Path(path).iterdir()) if Path(path).is_dir() else Path(path)
    return int(soundfile.info(file).samplerate)


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tracks", type=int, default=36)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--energy", default="wave")
    parser.add_argument("--copies", type=int, default=1, help="of each track, under other names")
    options = parser.parse_args()
    known = known_tracks(options.folder, options.tracks)
    for path, analysis in list(known.items()):
        for number in range(1, options.copies):
            copy = Path(f"{path}-copy{number}")
            if not copy.exists():
                copy.symlink_to(path)
            known[str(copy)] = analysis
    shelf, curve = of_analyses(known), find_curve(options.energy)
    begin = time.process_time()
    made = Planner(shelf, Wishes(options.minutes, options.seed, curve)).plan()
    print(f"{len(known)} tracks; planned in {time.process_time() - begin:.1f} s of processor time")
    path = options.folder / "set.toml"
    path.write_text(write_set(made.mix, options.folder.absolute()))
    (options.folder / "set.txt").write_text("\n".join(explain(made.mix, made.others)) + "\n")
    facts = {entry.path: shelf.facts(entry.path) for entry in made.mix.entries}
    energies = {track: shelf.energy(shelf.card(track)) for track in facts}
    path.with_suffix(".svg").write_text(picture(made.mix, facts, energies, curve.energy))
    mix = read_set(path)
    out = options.folder / "set.flac"
    begin = time.process_time()
    with (
        soundfile.SoundFile(out, "w", RATE, 2, "PCM_16") as file,
        Watched(Settings(), MEMORY, RATE, whole=False) as session,
    ):
        renderer = Renderer(session, cues_of(mix, path), file.write)
        seen = session.watch(mix)
        frames = renderer.run().frames
    took = time.process_time() - begin
    print(
        f"{len(mix.entries)} tracks, {frames / RATE / 60:.1f} minutes; rendered and looked at in "
        f"{took:.0f} s of processor time, {frames / RATE / took:.0f} times real time"
    )
    repeats = len(mix.entries) - len({entry.path for entry in mix.entries})
    print(f"tracks that come twice: {repeats}")
    _tell_kinds(mix)
    _tell_phases(mix, seen)
    _tell_clashes(mix, seen)
    _tell_tempo(mix)
    print(f"longest silence: {seen.longest_hole / RATE * 1000:.1f} ms")
    if seen.memory:
        print(f"memory, MB, by tenths of the render: "
              f"{[seen.memory[n * len(seen.memory) // 10] >> 10 for n in range(10)]}")
    _tell_loudness(mix, out)


def _tell_kinds(mix: Set) -> None:
    counts: dict[str, int] = defaultdict(int)
    for entry in mix.entries[:-1]:
        assert entry.transition is not None
        counts[f"{entry.transition.kind}, {entry.transition.bars:g} bars"] += 1
    for kind, count in sorted(counts.items()):
        print(f"  {count:3} {kind}")


def _tell_phases(mix: Set, seen: Seen) -> None:
    # Of a track that loops on its way out, the place as the transition begins is the loop's.
    looped = {
        index for index, entry in enumerate(mix.entries)
        if entry.transition and any(row.control == "loop" for row in entry.transition.rows)
    }  # fmt: skip
    kept = {key: off for key, off in seen.offsets.items()
            if not (key[1] == "going" and key[0] in looped)}  # fmt: skip
    worst = max(map(abs, kept.values()), default=0.0)
    print(f"playheads beside their phrases as transitions begin and end: {len(kept)} looked at, "
          f"the furthest is {worst:.2f} frames off")


def _tell_clashes(mix: Set, seen: Seen) -> None:
    usual: dict[tuple[int, str], float] = {}
    lines: dict[tuple[int, str], list[float]] = defaultdict(list)
    for block in seen.blocks:
        for key, level in block.levels.items():
            lines[key].append(level)
    for key, line in lines.items():
        usual[key] = max(1e-3, float(np.percentile(line, 90)))
    for name in ("vocals", "bass"):
        frames = run = runs = 0
        for block in seen.blocks:
            heard = [
                index for (index, stem), level in block.levels.items()
                if stem == name and level > NOTICED * usual[index, stem]
            ]  # fmt: skip
            if len(heard) > 1:
                run += 1
                # A block in which one hands over to the other has both.
                if run == 2:
                    runs += 1
                frames += block.frames if run > 1 else 0
            else:
                run = 0
        print(f"two {name} at once: {runs} times, {frames / RATE:.1f} s in all")


def _tell_tempo(mix: Set) -> None:
    tempo = tempo_map(mix)
    where = places(mix)
    length = tempo.second(where[-1].end)
    jumps = [place.end for place, entry in zip(where, mix.entries, strict=True)
             if entry.transition and not entry.transition.bars]  # fmt: skip
    worst = 0.0
    for n in range(int(length * 10)):
        one, two = tempo.beat(n / 10), tempo.beat((n + 1) / 10)
        if not any(one <= jump <= two + 1e-6 for jump in jumps):
            worst = max(worst, abs(tempo.bpm(two) / tempo.bpm(one) - 1))
    clocks = [tempo.bpm(place.begin) for place in where]
    print(f"clock from {min(clocks):.1f} to {max(clocks):.1f}; it moves by at most "
          f"{100 * worst:.3f} % in 0.1 s while something plays through")
    big = sum(abs(tempo.bpm(jump + 0.1) / tempo.bpm(jump - 0.1) - 1) > 1e-3 for jump in jumps)
    print(f"jumps between two tracks, where neither plays through: {big}")


def _tell_loudness(mix: Set, out: Path) -> None:
    tempo, where = tempo_map(mix), places(mix)
    steps, within = [], []
    with soundfile.SoundFile(out) as file:
        for before, after in pairwise(where):
            begin, end = tempo.second(after.begin), tempo.second(before.end)
            early = _lufs(file, begin - JOIN_SECONDS, begin)
            late = _lufs(file, end, end + JOIN_SECONDS)
            steps.append(late - early)
            if end - begin > 3:
                within.append(_lufs(file, begin, end) - (early + late) / 2)
    if not steps:
        return
    sizes = np.abs(steps)
    print(f"loudness, {JOIN_SECONDS:g} s after beside {JOIN_SECONDS:g} s before: "
          f"median {np.median(sizes):.1f} LU, largest {sizes.max():.1f} LU, within 2 LU "
          f"{int((sizes <= 2).sum())} of {len(steps)}")
    if within:
        sizes = np.abs(within)
        print(f"in the transition, beside the mean of both: median {np.median(sizes):.1f} LU, "
              f"largest {sizes.max():.1f} LU")


def _lufs(file: soundfile.SoundFile, begin: float, end: float) -> float:
    file.seek(max(0, min(file.frames, round(begin * RATE))))
    meter = Loudness(RATE)
    meter.feed(file.read(max(0, round((end - max(0.0, begin)) * RATE)), always_2d=True))
    return meter.integrated()


if __name__ == "__main__":
    main()
