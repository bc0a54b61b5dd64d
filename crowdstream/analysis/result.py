"""What is known of a track once it has been analysed. All of it can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crowdstream.audiofile.beatgrid import CERTAIN

VERSION = 3  # of the method: goes up when results change, so that a library knows what to do again

SectionKind = Literal["intro", "build", "drop", "break", "verse", "outro"]


@dataclass(frozen=True)
class Tempo:
    """A beat grid: pairs of beat and second, linear between and beyond them.

    Beat 0 is the first downbeat; there are beats below 0 where the sound begins before it.
    `bpm`: beats a minute, of an unsteady track the median; 0 where there is no beat, and then
    there are no anchors. `steady`: two anchors say it all. `confidence`: 0 to 1. `doubt`: what
    speaks against the grid, in words; empty where nothing does.
    """

    bpm: float
    steady: bool
    confidence: float
    anchors: tuple[tuple[float, float], ...]
    doubt: str = ""

    @property
    def uncertain(self) -> bool:
        """Whether there is a grid, and it may be wrong: its confidence is below `CERTAIN`."""
        return bool(self.anchors) and self.confidence < CERTAIN


@dataclass(frozen=True)
class Downbeat:
    """How sure it is that beat 0 begins a bar (0 to 1), and the beats of a bar."""

    confidence: float
    meter: int = 4


@dataclass(frozen=True)
class Key:
    """A key. `name`: in Camelot's notation ("8A" is A minor), empty where nothing has a pitch.

    `tonic`: 0 is C. `confidence`: 0 to 1. `alternatives`: the next likely names, likeliest first.
    `cents`: how far the tuning is from 440 Hz, -50 to 50.
    """

    name: str
    tonic: int
    minor: bool
    confidence: float
    alternatives: tuple[str, ...] = ()
    cents: float = 0.0


@dataclass(frozen=True)
class Loudness:
    """Integrated loudness in LUFS (EBU R128, -70 is silence) and sample peak in dB full scale."""

    lufs: float
    peak_db: float


@dataclass(frozen=True)
class Section:
    """A part of the track, whole bars long. `energy`: 0 to 1, relative to the track."""

    begin_beat: int
    end_beat: int
    kind: SectionKind
    energy: float


@dataclass(frozen=True)
class Vocals:
    """Where somebody sings: (begin, end) in seconds, ascending, apart from each other.

    `source`: "stem" where the voice has one of its own, else "mix", an estimate, or "none" where
    the stems are known and none of them is a voice.
    """

    spans: tuple[tuple[float, float], ...]
    source: Literal["stem", "mix", "none"]
    confidence: float


@dataclass(frozen=True)
class Analysis:
    """One track.

    Lists per bar have an entry for each bar from `first_bar_beat` (0, or below where sound
    precedes the first downbeat) to the end of the sound; without a beat a "bar" is 2 s long.
    `energy`, `bass`: 0 to 1, relative to the track's loudest bars. `activity`: per stem the same,
    empty where there is only one file. `level`: 0 to 1, how energetic the track is, comparable
    between tracks. `phrases`: beats at which a phrase starts. `silent`: nothing is above -70 LUFS.
    `fingerprint`: hexadecimal, see `fingerprint.py`. `silences`: (begin, end) in seconds,
    ascending, of stretches in which nothing is heard; see `silences.py`.
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
    activity: dict[str, tuple[float, ...]]
    sections: tuple[Section, ...]
    phrases: tuple[int, ...]
    vocals: Vocals
    fingerprint: str
    silences: tuple[tuple[float, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Only dictionaries, lists, texts and numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Analysis:
        """The inverse, also after a trip through JSON. Raises KeyError or TypeError."""
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
            activity={name: tuple(bars) for name, bars in values["activity"].items()},
            sections=tuple(Section(**section) for section in values["sections"]),
            phrases=tuple(values["phrases"]),
            vocals=Vocals(**{**vocals, "spans": _pairs(vocals["spans"])}),
            fingerprint=values["fingerprint"],
            silences=_pairs(values["silences"]),
        )


def _pairs(values: Any) -> tuple[tuple[float, float], ...]:
    return tuple((first, second) for first, second in values)


def second_of(anchors: tuple[tuple[float, float], ...], beat: float) -> float:
    """The second of a beat; `anchors` as in `Tempo`, at least two."""
    at = 1
    while at < len(anchors) - 1 and anchors[at][0] < beat:
        at += 1
    (left, begin), (right, end) = anchors[at - 1], anchors[at]
    return begin + (beat - left) * (end - begin) / (right - left)
