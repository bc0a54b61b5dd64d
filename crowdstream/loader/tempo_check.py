"""Check the tempo in a track's tags against its audio, where the track is not analysed.

Tags are rounded and don't contain the position of beats. The loader therefore examines a loaded
track one second at a time while it is idle. Nothing is read: the samples are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.confidence import tempo_of
from crowdstream.analysis.features import extract_in_steps
from crowdstream.analysis.rhythm import TAG_TOLERANCE, track_beats
from crowdstream.analysis.tempo import normalize_onsets
from crowdstream.audiofile.beatgrid import (
    MAX_ANCHORS,
    MIN_CERTAIN_CONFIDENCE,
    BeatGrid,
    FoundGrid,
    GridError,
)
from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import INT16
from crowdstream.loader.prefetch import Stem


class StemAudio:
    """A stem's samples in the desk's pages, as input of the analysis; see `analysis.source`."""

    def __init__(self, desk: Desk, stem: Stem, name: str) -> None:
        self.name = name
        self.sample_rate = round(desk.sample_rate)
        self.frames = stem.reader.frames
        self._desk = desk
        self._stem = stem

    def read(self, start: int, count: int) -> npt.NDArray[np.generic]:
        """See `Sound`. Missing pages are read as silence."""
        stem, source = self._stem, self._desk.sources[self._stem.source]
        channels, int16 = int(source["channels"]), int(source["format"]) == INT16
        out = np.zeros((count, channels), np.int16 if int16 else np.float32)
        done = 0
        while done < count:
            page, inside = divmod(start + done, stem.page_frames)
            some = min(count - done, stem.page_frames - inside)
            place = int(self._desk.page_table[stem.source, page]) - 1
            if place >= 0:
                raw = self._desk.arena[place].view(out.dtype)
                part = raw[inside * channels : (inside + some) * channels]
                out[done : done + some] = part.reshape(-1, channels)
            done += some
        return out


class TempoCheck:
    """Checks `said`, the tempo in a track's tags in beats per minute, step by step."""

    def __init__(self, desk: Desk, stems: Sequence[Stem], said: float) -> None:
        # Names could identify the drums, but tagged stems are rare: all stems are used.
        sounds = [StemAudio(desk, stem, f"stem {number}") for number, stem in enumerate(stems)]
        self._said = said
        self._steps = extract_in_steps(sounds)
        self.grid: FoundGrid | None = None
        self.verdict = ""

    def step(self) -> bool:
        """Examine the next second; False when done. `verdict` is then one of:

        "confirmed", with the grid of the audio in `grid`; "refuted"; or "open".
        """
        if self.verdict:
            return False
        try:
            next(self._steps)
        except StopIteration as end:
            self._judge(end.value)
        return True

    def _judge(self, features: Any) -> None:
        found = track_beats(features, normalize_onsets(features.onsets), self._said)
        if found is None:
            self.verdict = "refuted"
            return
        sure, _octave = tempo_of(found, features.seconds)
        if abs(found.bpm / self._said - 1) >= TAG_TOLERANCE:
            self.verdict = "refuted" if sure >= MIN_CERTAIN_CONFIDENCE else "open"
            return
        numbers = _numbers(found.beats.numbers, found.steady)
        pairs = zip(numbers, found.beats.time(numbers), strict=True)
        inside = [(float(n), float(at)) for n, at in pairs if at >= 0]
        # Parts with variable tempi have an anchor for each beat.
        step = -(-(len(inside) - 1) // (MAX_ANCHORS - 1)) or 1
        try:
            anchors = BeatGrid.through([*inside[:-1:step], inside[-1]]).anchors
        except GridError:  # the audio says nothing that a deck could use
            self.verdict = "open"
            return
        self.verdict = "confirmed"
        self.grid = FoundGrid(BeatGrid(anchors, found.steady), "tag", sure, found.doubt)


def _numbers(numbers: npt.NDArray[np.float64], steady: bool) -> npt.NDArray[np.float64]:
    if steady:
        return np.array([0.0, 64.0])
    return np.unique(np.concatenate([[0.0], numbers[numbers > 0]]))
