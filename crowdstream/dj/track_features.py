"""Track features for planning: one track's analysis, indexed by the beats of its beatgrid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from crowdstream.analysis.result import Analysis, second_of
from crowdstream.audiofile.loudness import SILENCE
from crowdstream.dj.setfile.model import BEATS_PER_BAR

BEATLESS_BPM = 120.0  # grid of a track without a beat: bars of 2 s, the same as in its analysis
MAX_ANCHORS = 512  # the most that a deck's beatgrid holds
# share of a bar with vocals, or activity of a stem, above which the bar counts
VOCAL_THRESHOLD = 0.15
BASS_THRESHOLD = 0.35  # low-band activity that counts as bass: about 20 dB below the loudest bar
ACTIVITY_RANGE_DB = 40.0  # the analysis maps this range to a stem activity of 0 to 1
FIT_ITERATIONS = 40  # iterations of the fit of stem powers
# Longest silence in seconds that is played. At a clock tempo 10 % below the track's, it lasts 2 s.
MAX_SILENCE = 1.8
ROUNDING = 0.001  # s: silences are rounded to a millisecond, also the one at the end of the file


@dataclass(frozen=True)
class TrackFeatures:
    """A track: its analysis, and the path that a deck loads.

    Beats are those of the track's own grid, where beat 0 is a downbeat.
    """

    path: str
    name: str
    analysis: Analysis

    @cached_property
    def beatless(self) -> bool:
        """Whether the track has no beats to match."""
        return self.analysis.tempo.bpm <= 0 or len(self.analysis.tempo.anchors) < 2

    @property
    def meter(self) -> int:
        """Beats per bar."""
        return self.analysis.downbeat.meter

    @property
    def uncertain(self) -> bool:
        """Whether its bars can't be matched: an uncertain grid or downbeat, or not 4 beats per bar.

        Such a track is not mixed with another.
        """
        found = self.analysis
        return found.tempo.uncertain or found.downbeat.uncertain or self.meter != BEATS_PER_BAR

    @cached_property
    def bpm(self) -> float:
        """Tempo of the beatgrid in beats per minute."""
        return BEATLESS_BPM if self.beatless else self.analysis.tempo.bpm

    @cached_property
    def anchors(self) -> tuple[tuple[float, float], ...]:
        """The beatgrid as (beat, second) pairs, thinned to at most `MAX_ANCHORS`."""
        if self.beatless:
            return ((0.0, 0.0), (1.0, 60.0 / BEATLESS_BPM))
        anchors = self.analysis.tempo.anchors
        step = math.ceil((len(anchors) - 1) / (MAX_ANCHORS - 1))
        kept = [*anchors[:-1:step], anchors[-1]]
        # The first and last segment extrapolate, so anchors before the file's start are not needed.
        pairs = [(float(beat), float(second)) for beat, second in kept if second >= 0]
        if len(pairs) == 1:  # a person has moved the first of two by a part of a beat
            after = pairs[0][0] + 1.0
            pairs.append((after, second_of(anchors, after)))
        return tuple(pairs)

    def second(self, beat: float) -> float:
        """Return the position in the file, in seconds, of a beat."""
        pairs = self.anchors
        at = next((n for n in range(1, len(pairs) - 1) if pairs[n][0] >= beat), len(pairs) - 1)
        (left, begin), (right, end) = pairs[at - 1], pairs[at]
        return begin + (beat - left) * (end - begin) / (right - left)

    def beat(self, second: float) -> float:
        """Return the beat at a position in seconds; the inverse of `second`."""
        pairs = self.anchors
        at = next((n for n in range(1, len(pairs) - 1) if pairs[n][1] >= second), len(pairs) - 1)
        (left, begin), (right, end) = pairs[at - 1], pairs[at]
        return left + (second - begin) * (right - left) / (end - begin)

    @cached_property
    def playable_span(self) -> tuple[float, float]:
        """(begin, end) in seconds of the longest part without a long silence; only this is played.

        Anything separated from it by a long silence, such as a hidden track, is not played.
        """
        begin, found = 0.0, (0.0, 0.0)
        ends = [*self.analysis.silences, (self.analysis.seconds, self.analysis.seconds)]
        for first, last in ends:
            if last - first < MAX_SILENCE and not self._is_end(last):
                continue
            if first - begin > found[1] - found[0]:
                found = (begin, first)
            begin = last
        return found

    def _is_end(self, second: float) -> bool:
        return second > self.analysis.seconds - ROUNDING

    @property
    def left_out(self) -> str:
        """Describe the part that is skipped because of a silence in the middle, else empty."""
        begin, end = self.playable_span
        inner = [one for one in self.analysis.silences if one[1] - one[0] >= MAX_SILENCE]
        inner = [one for one in inner if one[0] > 0.0 and not self._is_end(one[1])]
        if not inner:
            return ""
        first, last = max(inner, key=lambda one: one[1] - one[0])
        return (
            f"played from {begin:.0f} s to {end:.0f} s of {self.analysis.seconds:.0f} s, as there "
            f"is a silence of {last - first:.0f} s at {first:.0f} s"
        )

    @cached_property
    def begin(self) -> int:
        """Beat of the first downbeat in the playable part."""
        first = self.beat(self.playable_span[0])
        return self.meter * math.ceil((first - 1e-6) / self.meter)

    @cached_property
    def end(self) -> int:
        """Beat of the last bar line in the playable part."""
        sound = self.analysis.first_bar_beat + self.meter * len(self.analysis.energy)
        file = self.beat(self.playable_span[1])
        last = min(file, sound) if self.analysis.energy else file
        return self.meter * math.floor((last + 1e-6) / self.meter)

    @cached_property
    def phrases(self) -> tuple[int, ...]:
        """Beats at which phrases begin, and the end of the last phrase."""
        phrases = sorted({beat for beat in self.analysis.phrases if self.begin <= beat <= self.end})
        phrases = [beat for beat in phrases if beat % self.meter == 0]
        if len(phrases) < 2:
            step = self.meter * self.analysis.phrase_bars
            phrases = [*range(max(0, self.begin), self.end, step)] or [self.begin]
        if self.end - phrases[-1] >= self.meter:
            phrases.append(self.end)
        return tuple(phrases)

    def bars(self, begin: float, end: float) -> range:
        """Return the indexes of the analysed bars between two beats."""
        first = self.analysis.first_bar_beat
        low = max(0, math.floor((begin - first) / self.meter + 1e-6))
        high = math.ceil((end - first) / self.meter - 1e-6)
        return range(low, max(low, min(high, self.count)))

    @cached_property
    def count(self) -> int:
        """Number of analysed bars."""
        return len(self.analysis.energy)

    @cached_property
    def voice(self) -> tuple[float, ...]:
        """Share of each bar that contains vocals, 0 to 1."""
        vocals, first = self.analysis.vocals, self.analysis.first_bar_beat
        found = [0.0] * self.count
        for begin, end in vocals.spans:
            low, high = self.beat(begin), self.beat(end)
            for bar in self.bars(low, high):
                at = first + self.meter * bar
                shared = min(high, at + self.meter) - max(low, at)
                found[bar] += max(0.0, shared) / self.meter
        return tuple(min(1.0, share) for share in found)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the track's stems; empty for a single file."""
        return self.analysis.stems if len(self.analysis.stems) > 1 else ()

    def has(self, *names: str) -> bool:
        """Return whether the track has stems of all these names."""
        return all(name in self.stems for name in names)

    def activity(self, stem: str) -> Sequence[float]:
        """Return a stem's activity per bar, 0 to 1.

        Without an analysis of that stem: the low band for "bass", else the whole track's energy.
        """
        known = self.analysis.activity.get(stem)
        if known:
            return known
        return self.analysis.bass if stem == "bass" else self.analysis.energy

    def has_vocals(self, begin: float, end: float) -> bool:
        """Return whether there are vocals between two beats."""
        return any(self.voice[bar] > VOCAL_THRESHOLD for bar in self.bars(begin, end))

    def mean(self, line: Sequence[float], begin: float, end: float) -> float:
        """Return the mean of a per-bar curve between two beats; 0 without any bars."""
        values = [line[bar] for bar in self.bars(begin, end) if bar < len(line)]
        return sum(values) / len(values) if values else 0.0

    def energy(self, begin: float, end: float) -> float:
        """Return the mean energy between two beats, 0 to 1, relative to the track."""
        return self.mean(self.analysis.energy, begin, end)

    @cached_property
    def _sums(self) -> list[float]:
        # Cumulative sums of the bars' powers on the LUFS scale.
        return [0.0, *accumulate(10 ** (bar / 10) for bar in self.analysis.bar_loudness)]

    def loudness(self, begin: float, end: float) -> float:
        """Return the loudness of the bars between two beats in LUFS; -70 if there are none."""
        bars = self.bars(begin, end)
        if not bars:
            return SILENCE
        return 10 * math.log10((self._sums[bars.stop] - self._sums[bars.start]) / len(bars))

    @cached_property
    def powers(self) -> tuple[tuple[str, np.ndarray], ...]:
        """Linear power of each stem per bar, on the LUFS scale.

        A track without stems has one entry, with an empty name.

        The analysis gives the loudness of each bar, and of each stem relative to that stem's own
        loudest bar. The relative powers of the stems are fitted so that their sum is closest to
        the bars' power: non-negative least squares by multiplicative updates (Lee and Seung,
        2001).
        """
        whole = np.array([10 ** (bar / 10) for bar in self.analysis.bar_loudness])
        if not self.stems or not self.analysis.activity or not self.count:
            return (("", whole),)
        shares = np.zeros((self.count, len(self.stems)))
        for column, name in enumerate(self.stems):
            line = np.array(self.activity(name)[: self.count])
            shares[: len(line), column] = np.where(
                line > 0, 10 ** (ACTIVITY_RANGE_DB * (line - 1) / 10), 0.0
            )
        stem_powers = np.full(len(self.stems), float(np.mean(whole)))
        for _ in range(FIT_ITERATIONS):
            stem_powers *= (shares.T @ whole) / (shares.T @ (shares @ stem_powers) + 1e-14)
        return tuple(zip(self.stems, (shares * stem_powers).T, strict=True))

    def starts(self, kind: str) -> list[int]:
        """Return the beats at which sections of a kind, such as "drop", begin."""
        return [section.begin_beat for section in self.analysis.sections if section.kind == kind]
