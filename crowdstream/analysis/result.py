"""The result of the analysis of a track; all of it can be represented as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crowdstream.audiofile.beatgrid import MIN_CERTAIN_CONFIDENCE

VERSION = 8  # of the method: incremented when results change, so that libraries analyse again

PHRASE_BARS = 8  # usual length of a phrase
MIN_CERTAIN_DOWNBEAT = 0.5  # probability above which phrases are counted from the downbeat

SectionKind = Literal["intro", "build", "drop", "break", "verse", "outro"]


@dataclass(frozen=True)
class Tempo:
    """The tempo and the beat grid.

    bpm: beats per minute; the median of an unsteady track; 0 for a track without a beat, which
        has no anchors.
    steady: the tempo is constant, and two anchors describe the grid.
    confidence: probability that the tempo is right, 0 to 1.
    anchors: pairs of beat and second; the grid is linear between and beyond them. Beat 0 is the
        first downbeat. Beats are negative if the sound begins before it.
    doubt: why the grid may be wrong, as text; empty if nothing suggests that it is.
    octave: probability that it is not half, double or another fraction of the right tempo, given
        that it is one of these.
    """

    bpm: float
    steady: bool
    confidence: float
    anchors: tuple[tuple[float, float], ...]
    doubt: str = ""
    octave: float = 1.0

    @property
    def uncertain(self) -> bool:
        """Whether the track has a grid that may be wrong."""
        return bool(self.anchors) and self.confidence < MIN_CERTAIN_CONFIDENCE


@dataclass(frozen=True)
class Downbeat:
    """Probability that meter and beat 0 as a downbeat are right; beats per bar: 2, 3 or 4.

    Bars of two beats are those of 6/8: each beat is divided in thirds.
    """

    confidence: float
    meter: int = 4

    @property
    def uncertain(self) -> bool:
        """Whether another beat is likely to be the downbeat."""
        return self.confidence < MIN_CERTAIN_DOWNBEAT


@dataclass(frozen=True)
class Key:
    """A musical key.

    name: in Camelot notation ("8A" is A minor); empty if the track has no pitched sound.
    tonic: pitch class, 0 is C.
    confidence: probability that it is right, 0 to 1.
    alternatives: names of the next candidates, most likely first.
    cents: deviation of the tuning from A4 = 440 Hz, -50 to 50.
    """

    name: str
    tonic: int
    minor: bool
    confidence: float
    alternatives: tuple[str, ...] = ()
    cents: float = 0.0


@dataclass(frozen=True)
class Loudness:
    """Integrated loudness in LUFS (EBU R128; -70 is silence) and sample peak in dBFS."""

    lufs: float
    peak_db: float


@dataclass(frozen=True)
class Section:
    """A section of whole bars. `energy` is 0 to 1, relative to the track's loudest bars."""

    begin_beat: int
    end_beat: int
    kind: SectionKind
    energy: float


@dataclass(frozen=True)
class Vocals:
    """Passages with vocals.

    spans: (begin, end) in seconds, ascending, not overlapping.
    source: "stem" if measured in a vocal stem; "mix" if estimated from the mix; "none" if the
        stems have known names and none of them holds vocals.
    confidence: 0 to 1.
    """

    spans: tuple[tuple[float, float], ...]
    source: Literal["stem", "mix", "none"]
    confidence: float


@dataclass(frozen=True)
class Analysis:
    """The analysis of one track.

    Lists per bar have an entry for each bar from `first_bar_beat` (0, or negative if sound
    precedes the first downbeat) to the end of the sound. Without a beat, a "bar" is 2 s long.

    silent: the loudness does not exceed -70 LUFS.
    level: 0 to 1; how energetic the track is, comparable between tracks.
    energy, bass: per bar, 0 to 1, relative to the track's loudest bars.
    bar_loudness: per bar, in LUFS, not gated; at least -70.
    activity: per stem, the level of each bar, 0 to 1, relative to the stem's loudest bar; empty
        if there is only one file.
    phrase_bars: length of a phrase in bars.
    phrases: beats at which a phrase starts; empty if the downbeat is uncertain.
    fingerprint: hexadecimal, see `fingerprint.py`.
    silences: (begin, end) of silent passages in seconds, ascending; see `structure.py`.
    """

    version: int
    seconds: float
    sample_rate: int
    stems: tuple[str, ...]
    silent: bool
    tempo: Tempo
    downbeat: Downbeat
    key: Key
    loudness: Loudness
    level: float
    first_bar_beat: int
    energy: tuple[float, ...]
    bass: tuple[float, ...]
    bar_loudness: tuple[float, ...]
    activity: dict[str, tuple[float, ...]]
    sections: tuple[Section, ...]
    phrases: tuple[int, ...]
    vocals: Vocals
    fingerprint: str
    silences: tuple[tuple[float, float], ...] = ()
    phrase_bars: int = PHRASE_BARS

    def to_dict(self) -> dict[str, Any]:
        """Convert to dictionaries, lists, strings and numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Analysis:
        """Convert back from `to_dict` or its JSON. Raises KeyError or TypeError if invalid."""
        tempo, key, vocals = values["tempo"], values["key"], values["vocals"]
        return cls(
            version=values["version"],
            seconds=values["seconds"],
            sample_rate=values["sample_rate"],
            stems=tuple(values["stems"]),
            silent=values["silent"],
            tempo=Tempo(**{**tempo, "anchors": _pairs(tempo["anchors"])}),
            downbeat=Downbeat(**values["downbeat"]),
            key=Key(**{**key, "alternatives": tuple(key["alternatives"])}),
            loudness=Loudness(**values["loudness"]),
            level=values["level"],
            first_bar_beat=values["first_bar_beat"],
            energy=tuple(values["energy"]),
            bass=tuple(values["bass"]),
            bar_loudness=tuple(values["bar_loudness"]),
            activity={name: tuple(bars) for name, bars in values["activity"].items()},
            sections=tuple(Section(**section) for section in values["sections"]),
            phrases=tuple(values["phrases"]),
            vocals=Vocals(**{**vocals, "spans": _pairs(vocals["spans"])}),
            fingerprint=values["fingerprint"],
            silences=_pairs(values["silences"]),
            phrase_bars=values["phrase_bars"],
        )


def phrase_beats(
    sections: Iterable[Section], meter: int, phrase_bars: int = PHRASE_BARS
) -> tuple[int, ...]:
    """Return the beats at which phrases start, counted from the start of each section."""
    return tuple(
        beat for section in sections
        for beat in range(section.begin_beat, section.end_beat, meter * phrase_bars)
    )


def _pairs(values: Any) -> tuple[tuple[float, float], ...]:
    return tuple((first, second) for first, second in values)


def second_of(anchors: tuple[tuple[float, float], ...], beat: float) -> float:
    """Return the time of a beat in seconds; `anchors` are those of `Tempo`, at least two."""
    at = 1
    while at < len(anchors) - 1 and anchors[at][0] < beat:
        at += 1
    (left, begin), (right, end) = anchors[at - 1], anchors[at]
    return begin + (beat - left) * (end - begin) / (right - left)
