"""Score a recording of an automatic DJ: what happens between one track and the next.

    result = score(recording, read_sources(folder))

The recording and the tracks' files are compared (`search.py`, `align.py`, `levels.py`); nothing
that the DJ says of itself is used. docs/development/automatic-djs.md defines each figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.autodj.align import Bools, Passage, Track, align, flatten
from benchmarks.autodj.levels import SMOOTH_SECONDS, STEP_SECONDS, Levels, measure_levels
from benchmarks.autodj.search import SHIFTS, TEMPOS, Recording
from benchmarks.autodj.sources import Doubles, Source, Spans, read_mono
from benchmarks.common import percentile
from crowdstream.audiofile.loudness import LoudnessMeter

AUDIBLE_DB = -15.0  # of a band, relative to its usual level in the track: softer is masked
MASKED_SHARE = 0.01  # of the recording's power in the band: less is masked, or noise
ALONE_SHARE = 0.9  # of the power: the track plays alone, and its gain is its usual one
MIN_PLAY_SECONDS = 4.0  # shorter passages are not told apart from similar sounds of another track
MIN_OVERLAP_SECONDS = 1.5  # levels are known to about a second: a shorter overlap is a cut
MATCHED_SECONDS = 0.03  # median beat offset above which the tempos or beats are not matched
MOVED_DB = 6.0  # a band that moves this much relative to another one was equalised
HIT_BEATS = 0.25  # bars and phrases coincide if they are this close
BESIDE_SECONDS = 20.0  # compared in loudness before and after a transition
SILENT = 10 ** (-60 / 20)
SILENCE_BLOCK_SECONDS = 0.05
# An instant swap of two basses looks this long, because levels are means over a window.
SWAP_SECONDS = 1.5 * SMOOTH_SECONDS[0]
LOW, MID = 0, 1


@dataclass
class Play:
    """A track plays, in one passage or in several that follow each other.

    `gain`: its usual gain in the recording, relative to its file (linear).
    `times` (seconds of the recording), `bands` (`(times, 3)`): its gains relative to that.
    `audible`, `bass`, `voice`: at which of `times`; `voice` is None without labels.
    """

    source: Source
    passages: list[Passage]
    gain: float
    times: Doubles
    bands: Doubles
    audible: Bools
    bass: Bools
    voice: Bools | None

    @property
    def begin(self) -> float:
        """The first audible moment, in seconds of the recording."""
        return float(self.times[np.flatnonzero(self.audible)[0]])

    @property
    def end(self) -> float:
        """The last audible moment."""
        return float(self.times[np.flatnonzero(self.audible)[-1]]) + STEP_SECONDS


@dataclass
class Transition:
    """What happens between two tracks. Times in seconds of the recording.

    `offsets`: of each beat in the overlap, in seconds, positive if the incoming track is late.
    `bar`, `phrase`: whether they coincide; None without labels. `step`: LU. `plain`: None without
    an overlap.
    """

    before: str
    after: str
    begin: float
    end: float
    overlap: float
    offsets: list[float] = field(default_factory=list)
    bar: bool | None = None
    phrase: bool | None = None
    step: float | None = None
    plain: bool | None = None
    two_voices: float | None = None
    two_basses: float = 0.0


@dataclass
class Score:
    """All results of a recording. `seconds`: its length between the first and the last sound."""

    plays: list[Play]
    transitions: list[Transition]
    seconds: float
    silence: float

    def figures(self) -> dict[str, float | None]:
        """Return the figures of the table; None if nothing was there to be judged.

        Offsets in ms, loudness in LU, shares from 0 to 1, everything else in seconds.
        """

        def share(values: Sequence[bool | None]) -> float | None:
            known = [value for value in values if value is not None]
            return sum(known) / len(known) if known else None

        joins = self.transitions
        offsets = [1000 * abs(offset) for join in joins for offset in join.offsets]
        steps = [abs(join.step) for join in joins if join.step is not None]
        voices = [join.two_voices for join in joins if join.two_voices is not None]
        return {
            "tracks": float(len(self.plays)),
            "seconds": self.seconds,
            "overlap": sum(join.overlap for join in joins),
            "beat offset p50": percentile(offsets, 50) if offsets else None,
            "beat offset p95": percentile(offsets, 95) if offsets else None,
            "bars": share([join.bar for join in joins]),
            "phrases": share([join.phrase for join in joins]),
            "two voices": sum(voices) if voices else None,
            "two basses": sum(join.two_basses for join in joins),
            "loudness step p50": percentile(steps, 50) if steps else None,
            "loudness step max": max(steps) if steps else None,
            "silence": self.silence,
            "plain fades": share([join.plain for join in joins]),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all results for JSON."""
        return {
            "figures": self.figures(),
            "plays": [
                {
                    "track": play.source.name, "begin": round(play.begin, 2),
                    "end": round(play.end, 2), "level_db": round(20 * math.log10(play.gain), 2),
                    "passages": [
                        {
                            "begin": round(passage.begin, 2), "end": round(passage.end, 2),
                            "from": round(float(passage.map.position(np.array([passage.begin]))[0]),
                                          4),
                            "rate_begin": round(passage.map.rate(passage.begin + 1), 5),
                            "rate_end": round(passage.map.rate(passage.end - 1), 5),
                            "pitch": passage.pitch,
                            "error_ms": round(1000 * passage.error, 3),
                        }
                        for passage in play.passages
                    ],
                }
                for play in self.plays
            ],
            "transitions": [
                {key: value if key != "offsets" else np.round(value, 6).tolist()
                 for key, value in vars(join).items()}
                for join in self.transitions
            ],
        }  # fmt: skip


def score(
    recording: Path, sources: Sequence[Source], tempos: Sequence[float] = TEMPOS,
    shifts: Sequence[float] = SHIFTS,
) -> Score:
    """Return the score of a recording of these tracks.

    tempos: playback rates that are searched. shifts: transpositions in semitones that are searched
    beside varispeed. Raises `soundfile.LibsndfileError` for a file that cannot be read.
    """
    mono = read_mono(recording)
    flat = flatten(mono)
    windows = Recording(mono)
    tracks, passages = [], []
    for number, source in enumerate(sources):
        track = Track(read_mono(source.path))
        tracks.append(track)
        for rough in windows.find(number, track.mono, tempos, shifts):
            passages += align(flat, track, rough)
    passages = _without_doubles(passages)
    plays = _plays(sources, passages, measure_levels(mono, tracks, passages))
    with soundfile.SoundFile(recording) as file:
        joins = [_transition(before, after, file) for before, after in pairwise(plays)]
        silence = _silence(file, plays[0].begin, plays[-1].end) if plays else 0.0
    seconds = plays[-1].end - plays[0].begin if plays else 0.0
    return Score(plays, joins, seconds, silence)


def _without_doubles(passages: Sequence[Passage]) -> list[Passage]:
    # Of two passages of one track at the same time (it repeats itself), the better one.
    kept: list[Passage] = []
    for passage in sorted(passages, key=lambda each: -each.fragments):
        shared = [min(passage.end, other.end) - max(passage.begin, other.begin)
                  for other in kept if other.track == passage.track]  # fmt: skip
        if max(shared, default=0.0) < 0.5 * (passage.end - passage.begin):
            kept.append(passage)
    return sorted(kept, key=lambda each: each.begin)


def _plays(
    sources: Sequence[Source], passages: Sequence[Passage], levels: Sequence[Levels]
) -> list[Play]:
    usual = _usual_gains(passages, levels)
    threshold = 10 ** (AUDIBLE_DB / 20)
    plays: list[Play] = []
    found = []
    for passage, level, gain in zip(passages, levels, usual, strict=True):
        heard = (level.level / gain > threshold) & (level.share > MASKED_SHARE)
        audible: Bools = np.asarray(heard.any(axis=1))
        if audible.sum() * STEP_SECONDS >= MIN_PLAY_SECONDS:
            begin = level.times[np.flatnonzero(audible)[0]]
            found.append((float(begin), passage, level, gain, audible))
    for _, passage, level, gain, audible in sorted(found, key=lambda each: each[0]):
        source = sources[passage.track]
        bands = level.gain / gain
        position = passage.map.position(level.times)
        bass = level.level[:, LOW] / gain > threshold
        if source.bass is not None:
            bass &= _within(position, source.bass)
        voice = None
        if source.vocals is not None:
            voice = (bands[:, MID] > threshold) & _within(position, source.vocals) & audible
        if plays and plays[-1].source is source:
            last = plays[-1]  # the track has jumped
            last.passages.append(passage)
            last.bands = np.maximum(last.bands, bands)
            last.audible, last.bass = last.audible | audible, last.bass | (bass & audible)
            last.voice = None if last.voice is None or voice is None else last.voice | voice
        else:
            plays.append(
                Play(source, [passage], gain, level.times, bands, audible, bass & audible, voice)
            )
    return plays


def _usual_gains(passages: Sequence[Passage], levels: Sequence[Levels]) -> list[float]:
    found: list[float | None] = []
    for passage, level in zip(passages, levels, strict=True):
        inside = (level.times >= passage.begin) & (level.times <= passage.end)
        alone = inside & (level.share[:, MID] > ALONE_SHARE)
        # The middle band: a bass or the treble may be turned down for long.
        gains = level.gain[alone, MID]
        gains = gains[gains > 0]
        found.append(float(np.median(gains)) if len(gains) * STEP_SECONDS >= 2.0 else None)
    known = [gain for gain in found if gain is not None]
    rest = float(np.median(known)) if known else 1.0
    return [rest if gain is None else gain for gain in found]


def _within(positions: Doubles, spans: Spans) -> Bools:
    inside = np.zeros(len(positions), np.bool_)
    for begin, end in spans:
        inside |= (positions >= begin) & (positions < end)
    return inside


def _transition(before: Play, after: Play, file: soundfile.SoundFile) -> Transition:
    both = before.audible & after.audible
    overlap = float(both.sum()) * STEP_SECONDS
    begin, end = sorted((after.begin, before.end))
    join = Transition(before.source.name, after.source.name, begin, end, overlap)
    if overlap < MIN_OVERLAP_SECONDS:
        join.overlap = 0.0
    outgoing = max(before.passages, key=lambda each: each.end)
    incoming = min(after.passages, key=lambda each: each.begin)
    if len(before.source.beats) > 1 and len(after.source.beats) > 1:
        if join.overlap:
            join.offsets = _offsets(before, outgoing, after, incoming, both)
        beat = float(np.median(np.diff(outgoing.map.time(before.source.beats))))
        span = begin - HIT_BEATS * beat, end
        left = before.end
        bars = before.source.downbeats, after.source.downbeats
        phrases = before.source.phrases, after.source.phrases
        join.bar, join.phrase = (
            _coincide(_grid(ours, outgoing, left), incoming.map.time(theirs), span, beat)
            for ours, theirs in (bars, phrases)
        )
    join.two_basses = _at_once(before.bass, after.bass)
    if before.voice is not None and after.voice is not None:
        join.two_voices = float((before.voice & after.voice).sum()) * STEP_SECONDS
    if join.overlap:
        join.plain = not _equalised(before, after, both) or not (
            not join.offsets or percentile(np.abs(join.offsets).tolist(), 50) <= MATCHED_SECONDS
        )
    early = loudness(file, max(0.0, begin - BESIDE_SECONDS), begin)
    late = loudness(file, end, end + BESIDE_SECONDS)
    join.step = late - early
    return join


def _offsets(
    before: Play, outgoing: Passage, after: Play, incoming: Passage, both: Bools
) -> list[float]:
    ours = outgoing.map.time(before.source.beats)
    theirs = incoming.map.time(after.source.beats)
    at = np.flatnonzero(both)
    first, last = before.times[at[0]], before.times[at[-1]] + STEP_SECONDS

    def inside(times: Doubles) -> Doubles:
        index = np.clip(((times - before.times[0]) / STEP_SECONDS).astype(int), 0, len(both) - 1)
        kept: Doubles = times[(times >= first) & (times < last) & both[index]]
        return kept

    few, many, sign = (inside(ours), theirs, 1.0)
    if len(inside(theirs)) < len(few):  # at twice the tempo, every second beat has a partner
        few, many, sign = (inside(theirs), ours, -1.0)
    offsets = [float(sign * (many[np.abs(many - time).argmin()] - time)) for time in few]
    # Before the first beat of a track and after its last one there is no partner.
    half = 0.51 * float(np.median(np.diff(many)))
    return [offset for offset in offsets if abs(offset) <= half]


def _grid(times: Doubles, passage: Passage, left: float) -> Doubles:
    # Bars or phrases of a track in seconds of the recording, continued for a minute after it has
    # left, with the last length that was heard: its file may go on in another way.
    grid = passage.map.time(times)
    heard = grid[grid <= left]
    if len(heard) < 2:
        return grid
    before = np.arange(60, 0, -1) * (heard[1] - heard[0])
    after = np.arange(1.0, 60.0 / max(0.1, heard[-1] - heard[-2]) + 2) * (heard[-1] - heard[-2])
    return np.concatenate([heard[0] - before, heard, heard[-1] + after])


def _coincide(
    mine: Doubles, theirs: Doubles, span: tuple[float, float], beat: float
) -> bool | None:
    # Whether most of the incoming track's times in a span, or else the first one after its
    # beginning, are within a part of a beat (s) of one of the outgoing track's.
    if len(mine) < 2 or len(theirs) < 2:
        return None
    heard = theirs[(theirs >= span[0]) & (theirs < span[1])]
    if not len(heard):
        heard = theirs[theirs >= span[0]][:1]
    if not len(heard):
        return None
    hits = [bool(np.abs(mine - time).min() <= HIT_BEATS * beat) for time in heard]
    return sum(hits) > len(hits) / 2


def _at_once(one: Bools, two: Bools) -> float:
    # Seconds of two basses. A swap, after which only the other one plays, is shortened by what an
    # instant swap would last.
    both = one & two
    edges = np.flatnonzero(np.diff(both.astype(np.int8), prepend=0, append=0))
    seconds = 0.0
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        length = float(end - begin) * STEP_SECONDS
        swapped = begin > 0 and end < len(both) and one[begin - 1] and two[end]
        seconds += max(0.0, length - SWAP_SECONDS) if swapped else length
    return seconds


def _equalised(before: Play, after: Play, both: Bools) -> bool:
    # Whether a band of either track moves in another way than the rest while both are audible.
    floor = 10 ** (AUDIBLE_DB / 20)
    for play in (before, after):
        bands = np.maximum(play.bands[both], 0.3 * floor)
        loud = bands.max(axis=1) > floor
        if not loud.any():
            continue
        decibels = 20 * np.log10(bands[loud])
        spread = decibels.max(axis=1) - decibels.min(axis=1)
        if float(np.percentile(spread, 80)) > MOVED_DB:
            return True
    return False


def loudness(file: soundfile.SoundFile, begin: float, end: float) -> float:
    """Return the integrated loudness of a part of a file in LUFS (ITU-R BS.1770-4)."""
    rate = file.samplerate
    file.seek(min(file.frames, round(begin * rate)))
    sound = file.read(max(0, round((end - begin) * rate)), always_2d=True, dtype="float32")
    meter = LoudnessMeter(rate)
    meter.feed(np.repeat(sound, 2, axis=1) if sound.shape[1] == 1 else sound[:, :2])
    return meter.integrated()


def _silence(file: soundfile.SoundFile, begin: float, end: float) -> float:
    size = round(SILENCE_BLOCK_SECONDS * file.samplerate)
    file.seek(round(begin * file.samplerate))
    frames = min(file.frames, round(end * file.samplerate)) - file.tell()
    silent = 0
    for _ in range(frames // size):
        silent += bool(np.abs(file.read(size, always_2d=True, dtype="float32")).max() < SILENT)
    return silent * SILENCE_BLOCK_SECONDS
