"""Observe a set while it is rendered: stems, playback rates, silences and memory.

The observations are independent of the plan. The position of a stem is found by comparing the
deck's input, sample by sample, with the file; levels are those of the same samples.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from crowdstream.control.decks.track import first_buffer
from crowdstream.desk.constants import STEMS, TAP_STEM
from crowdstream.desk.ramps import deck_level_ramp, eq_ramp
from crowdstream.desk.snapshot import DeskSnapshot, read_snapshot
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.timed_commands import DECKS, TrackPlacement, placements
from crowdstream.dj.track_features import TrackFeatures
from crowdstream.offline.session import Session

RATE = 44100
BLOCK = 2048  # frames; levels are measured every 46 ms
PARTS = ("drums", "bass", "vocals", "other")  # stems whose levels are recorded
MIN_GAP_SECONDS = 0.01
SILENT = 10 ** (-70 / 20)
ATTACK_FRAMES = 1024  # length of a drum attack, which locates a beat
SEARCHED = 4000  # frames to either side
LIKENESS = 0.95  # correlation above which it is the same attack
AROUND_BEATS = 26.0  # range before and after a transition in which beats are located


@dataclass(frozen=True)
class Beat:
    """A located drum attack: beats after the start of the transition, and frames off the clock.

    `file_beat`: its true beat in the track.
    """

    at: int
    file_beat: int
    off: int


@dataclass
class Join:
    """The located beats on both sides of a transition."""

    out: list[Beat] = field(default_factory=list)
    into: list[Beat] = field(default_factory=list)


class Watched(Session):
    """A session that observes clock, decks and stems after each block."""

    def watch(self, mix: Set, truths: Mapping[str, TrackFeatures], seconds: float) -> None:
        """Start observing. `truths`: features of the tracks; `seconds`: length of the set."""
        self.mix, self.placements, self.truths = mix, placements(mix), truths
        self.taps = {
            (deck, stem): TapReader(self.desk, TAP_STEM + STEMS * deck + stem, LISTENERS)
            for deck in range(len(DECKS)) for stem in range(4)
        }  # fmt: skip
        # Allocated in advance, so that memory growth during rendering is not the observer's.
        count = int(seconds * 1.1 * RATE / BLOCK) + 40 * len(self.placements) + 1000
        self.frames = np.full(count, 0, np.int64)
        self.beats = np.full(count, 0.0)
        self.tempi = np.full(count, 0.0)
        self.rates = np.full((count, len(DECKS)), 0.0)
        self.tracks = np.full((count, len(DECKS)), -1, np.int32)
        self.levels = np.full((count, len(DECKS), len(PARTS)), 0.0, np.float32)
        self.count = 0
        self._silent_frames = 0
        self.gaps: list[tuple[int, int]] = []  # length in frames, and the frame after the gap
        self.memory: list[int] = []
        self.joins = [Join() for _ in self.placements[1:]]
        self._kept: dict[tuple[int, int], list[tuple[int, np.ndarray]]] = {}
        self._next_join = 0
        self._stem_files: dict[int, np.ndarray] = {}

    def render(self, frames: int) -> np.ndarray:
        """Render and observe a block; see `Session.render`."""
        out = super().render(frames)
        if hasattr(self, "joins"):
            self._observe(out)
        return out

    def finish(self) -> None:
        """Evaluate the remaining transitions."""
        while self._next_join < len(self.joins):
            self._compare(self._next_join)
            self._next_join += 1

    def _observe(self, out: np.ndarray) -> None:
        moment = read_snapshot(self.desk)
        n, self.count = self.count, self.count + 1
        self.frames[n], self.beats[n], self.tempi[n] = moment.frame, moment.beat, moment.bpm
        middle = moment.beat - len(out) / RATE * moment.bpm / 120
        now = {p.deck: p.index for p in self._near(middle) if p.begin <= middle <= p.end}
        for number, deck in enumerate(DECKS):
            index = now.get(deck, -1)
            self.tracks[n, number] = index
            gain = float(self.desk.ramps[deck_level_ramp(number)]["value"])
            low = float(self.desk.ramps[eq_ramp(number, 0)]["value"])
            for stem in range(4):
                begin = self.taps[number, stem].position
                samples = self.taps[number, stem].read()[1]
                if index < 0 or not len(samples):
                    continue
                names = self.mix.entries[index].stems
                name = names[stem] if stem < len(names) else ""
                if name in PARTS:
                    audible_gain = gain * (low if name == "bass" else 1.0)
                    level = math.sqrt(float(np.mean(np.square(samples)))) * audible_gain
                    self.levels[n, number, PARTS.index(name)] = level
                if name == "drums" and self._is_near_a_join(middle):
                    self._kept.setdefault((index, number), []).append((begin, samples[:, 0]))
            self.rates[n, number] = self._rate_of(moment, number) if index >= 0 else 0.0
        self._compare_what_has_passed(moment.beat)
        self._find_gaps(out)
        if n % 500 == 0:
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[1])
            self.memory.append(pages * os.sysconf("SC_PAGE_SIZE"))

    def _near(self, beat: float) -> list[TrackPlacement]:
        # The placements that may be audible: as many as there are decks.
        last = bisect_left(self.placements, beat, key=lambda place: place.begin)
        return self.placements[max(0, last - len(DECKS)) : last + 1]

    def _rate_of(self, moment: DeskSnapshot, deck: int) -> float:
        track = self.core.track_table.current.get(first_buffer(deck))
        if track is None or track.voice is None or not moment.playing[track.voice]:
            return 0.0
        return moment.speeds[track.voice]

    # Position of the beats

    def _is_near_a_join(self, beat: float) -> bool:
        if self._next_join >= len(self.joins):
            return False
        before, after = self.placements[self._next_join : self._next_join + 2]
        return after.begin - AROUND_BEATS <= beat <= before.end + AROUND_BEATS

    def _compare_what_has_passed(self, beat: float) -> None:
        while self._next_join < len(self.joins):
            if beat < self.placements[self._next_join].end + AROUND_BEATS:
                return
            self._compare(self._next_join)
            self._next_join += 1
            kept = {key: parts for key, parts in self._kept.items() if key[0] >= self._next_join}
            self._kept = kept

    def _compare(self, number: int) -> None:
        before, after = self.placements[number : number + 2]
        length = before.end - after.begin
        join = self.joins[number]
        # A looping outgoing track is evaluated only before its loops start.
        until = int(length) if length else -16
        join.out = self._located(before, after.begin, range(-24, until))
        join.into = self._located(after, after.begin, range(0, int(length) + 16))
        self._stem_files.pop(number, None)

    def _located(self, place: TrackPlacement, origin: float, beats: range) -> list[Beat]:
        entry = self.mix.entries[place.index]
        first = self.frame_of(origin - AROUND_BEATS) - BLOCK
        kept = self._kept.get((place.index, DECKS.index(place.deck)), [])
        parts = [part for part in kept if part[0] >= first]
        if not parts:
            return []
        begin = parts[0][0]
        line = np.concatenate([samples for _, samples in parts])
        drums = self._drums(place.index)
        found: list[Beat] = []
        for at in beats:
            file_beat = entry.enter + (origin + at - place.begin) * entry.ratio
            if abs(file_beat - round(file_beat)) > 1e-6:
                continue
            # The true beat of the track, not the one according to the set.
            truth = self.truths[entry.path]
            file_beat = round(truth.beat(entry.second(file_beat)))
            place_in_file = round(truth.second(file_beat) * RATE)
            attack = drums[place_in_file : place_in_file + ATTACK_FRAMES]
            ahead = drums[max(0, place_in_file - ATTACK_FRAMES) : place_in_file]
            if len(attack) < ATTACK_FRAMES or _rms(attack) < max(0.02, 2 * _rms(ahead)):
                continue
            expected = self.frame_of(origin + at) - begin
            low = round(expected) - SEARCHED
            window = line[max(0, low) : low + 2 * SEARCHED + ATTACK_FRAMES]
            if low < -SEARCHED or len(window) < ATTACK_FRAMES:
                continue
            where, likeness = _find(window, attack)
            if likeness > LIKENESS:
                off = round(max(0, low) + where - expected)
                found.append(Beat(at, file_beat, off))
        return found

    def _drums(self, index: int) -> np.ndarray:
        if index not in self._stem_files:
            folder = Path(self.mix.entries[index].path)
            file = folder / "drums.wav"
            self._stem_files[index] = (
                soundfile.read(file, dtype="float32", always_2d=True)[0][:, 0].copy()
                if file.exists() else np.zeros(0, np.float32)
            )  # fmt: skip
        return self._stem_files[index]

    def frame_of(self, beat: float) -> float:
        # From the recorded clock, which is almost linear between two blocks.
        beats = self.beats[: self.count]
        at = int(np.clip(np.searchsorted(beats, beat), 1, self.count - 1))
        step = beats[at] - beats[at - 1]
        share = (beat - beats[at - 1]) / step if step > 0 else 0.0
        return float(self.frames[at - 1] + share * (self.frames[at] - self.frames[at - 1]))

    # Silences

    def _find_gaps(self, out: np.ndarray) -> None:
        # Silence at the end counts only if sound follows.
        loud = np.flatnonzero(np.abs(out).max(axis=1) >= SILENT)
        if not len(loud):
            self._silent_frames += len(out)
            return
        begin = self.desk.frame - len(out)
        silent_since = np.diff(loud, prepend=-1 - self._silent_frames) - 1
        for at in np.flatnonzero(silent_since > MIN_GAP_SECONDS * RATE):
            self.gaps.append((int(silent_since[at]), begin + int(loud[at])))
        self._silent_frames = len(out) - 1 - int(loud[-1])


def _rms(samples: np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(samples)))) if len(samples) else 0.0


def _find(window: np.ndarray, wanted: np.ndarray) -> tuple[int, float]:
    # Position in the window by normalised correlation, and the correlation there.
    size = 1 << (len(window) + len(wanted)).bit_length()
    spectrum: Any = np.fft.rfft(window, size) * np.conj(np.fft.rfft(wanted, size))
    count = len(window) - len(wanted) + 1
    products = np.fft.irfft(spectrum, size)[:count]
    sums = np.concatenate([[0.0], np.cumsum(np.square(window, dtype=np.float64))])
    powers = np.sqrt(np.maximum(sums[len(wanted) :][:count] - sums[:count], 1e-12))
    likeness = products / powers / max(1e-9, float(np.linalg.norm(wanted)))
    where = int(np.argmax(likeness))
    return where, float(likeness[where])
