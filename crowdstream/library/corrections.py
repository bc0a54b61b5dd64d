"""Corrections of an analysis by a person; they take precedence over its results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from crowdstream.analysis.result import Analysis, Key, Section, SectionKind
from crowdstream.audiofile.beatgrid import MAX_BPM, MIN_BPM, BeatGrid
from crowdstream.audiofile.tags import MAX_LABEL, MAX_LABELS, MAX_TEXT
from crowdstream.library.key_names import parse_key
from crowdstream.library.refit import with_downbeat, with_grid, with_tempo
from crowdstream.system.text import printable

MAX_SECONDS = 1e6
MAX_SPANS, MAX_SECTIONS = 1000, 1000
KINDS: tuple[str, ...] = get_args(SectionKind)


class CorrectionError(ValueError):
    """An invalid correction.

    key: the name of the correction.
    number: index of the section, from 0; None for other corrections.
    """

    def __init__(self, key: str, reason: str, number: int | None = None) -> None:
        super().__init__(reason)
        self.key = key
        self.number = number


@dataclass(frozen=True)
class Corrections:
    """The corrections of one track; None for values that are not corrected.

    key: in Camelot notation.
    bpm: beats per minute.
    first_downbeat: in seconds.
    level: how energetic the track is, 0 to 1.
    vocals: (begin, end) in seconds, ascending.
    tags: labels by which the DJ's selection can be restricted; they replace those of the file.
    sections: (begin, end, kind, energy); begin and end in beats, energy 0 to 1 or None.
    grid: takes precedence over `bpm` and `first_downbeat`.
    """

    title: str | None = None
    artist: str | None = None
    key: str | None = None
    bpm: float | None = None
    first_downbeat: float | None = None
    level: float | None = None
    vocals: tuple[tuple[float, float], ...] | None = None
    sections: tuple[tuple[int, int, str, float | None], ...] | None = None
    tags: tuple[str, ...] | None = None
    grid: BeatGrid | None = None

    def over(self, other: Corrections) -> Corrections:
        """Merge with other corrections; these take precedence."""
        own = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) is not None
        }
        if self.bpm is not None or self.first_downbeat is not None:
            own.setdefault("grid", None)  # else the other's grid would override this tempo
        return replace(other, **own)

    def names(self) -> list[str]:
        """Return the names of the corrected values."""
        return [one.name for one in fields(self) if getattr(self, one.name) is not None]

    def apply(self, analysis: Analysis) -> Analysis:
        """Return the analysis with these corrections applied."""
        if self.grid is not None:
            analysis = with_grid(analysis, self.grid)
        else:
            if self.bpm is not None:
                analysis = with_tempo(analysis, self.bpm)
            if self.first_downbeat is not None:
                analysis = with_downbeat(analysis, self.first_downbeat)
        if self.key is not None:
            named = parse_key(self.key)
            assert named is not None  # `_key` has validated it
            analysis = replace(analysis, key=Key(*named, 1.0, (), analysis.key.cents))
        if self.level is not None:
            analysis = replace(analysis, level=self.level)
        if self.vocals is not None:
            found = analysis.vocals
            analysis = replace(analysis, vocals=replace(found, spans=self.vocals, confidence=1.0))
        if self.sections is not None:
            analysis = replace(analysis, sections=_sections(analysis, self.sections))
        return analysis


def parse_corrections(values: Mapping[str, Any]) -> Corrections:
    """Validate corrections from TOML or JSON. Raises `CorrectionError`.

    Keys: title, artist, key, bpm, first_downbeat, level, vocals: [[begin, end], ...], tags: a list
    of texts, sections: [{begin, end, kind, energy}, ...]. See `Corrections` for the units.
    """
    read: dict[str, Any] = {}
    for key, value in values.items():
        reader = _READERS.get(key)
        if reader is None:
            known = ", ".join(_READERS)
            raise CorrectionError(key, f"unknown key {printable(key)[:40]}; known keys: {known}")
        read[key] = reader(key, value)
    return Corrections(**read)


def parse_text(key: str, text: str) -> Any:
    """Parse the value of a correction from the command line, for `read_corrections`.

    Spans are written as 12.5-40,60-80. Raises `CorrectionError`.
    """
    if key == "sections":
        raise CorrectionError(key, "sections can only be set in the sidecar")
    if key in ("bpm", "first_downbeat", "level"):
        try:
            return float(text)
        except ValueError:
            raise CorrectionError(key, f"{key} is not a number: {printable(text)[:40]}") from None
    if key == "tags":
        return [] if text in ("none", "-") else text.split(",")
    if key == "vocals":
        if text in ("none", "-"):
            return []
        try:
            return [[float(part) for part in span.split("-")] for span in text.split(",")]
        except ValueError:
            raise CorrectionError(
                key, "vocals must be spans in seconds, such as 12.5-40,60-80, or none"
            ) from None
    return text


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise CorrectionError(key, f"{key} must be a text of up to {MAX_TEXT} characters")
    return printable(value.strip())


def _key(key: str, value: Any) -> str:
    named = parse_key(value) if isinstance(value, str) else None
    if named is None:
        raise CorrectionError(
            key, f"key {printable(str(value))[:40]!r} is unknown; write it as 8A, Am or F# minor"
        )
    return named[0]


def _labels(key: str, value: Any) -> tuple[str, ...]:
    good = isinstance(value, list | tuple) and len(value) <= MAX_LABELS
    if not good or not all(isinstance(one, str) and len(one) <= MAX_LABEL for one in value):
        raise CorrectionError(
            key, f"tags must be a list of up to {MAX_LABELS} texts of up to {MAX_LABEL} characters,"
            ' such as ["lounge", "deep house"]'
        )
    return tuple(label for one in value if (label := printable(one.strip())))


def _number(key: str, value: Any, low: float, high: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or not low <= value <= high:
        raise CorrectionError(key, f"{key} must be a number from {low:g} to {high:g}")
    return float(value)


def _vocals(key: str, value: Any) -> tuple[tuple[float, float], ...]:
    reason = "vocals must be a list of [begin, end] in seconds, ascending, such as [[12.5, 40]]"
    if not isinstance(value, list | tuple) or len(value) > MAX_SPANS:
        raise CorrectionError(key, reason)
    spans: list[tuple[float, float]] = []
    for span in value:
        if not isinstance(span, list | tuple) or len(span) != 2:
            raise CorrectionError(key, reason)
        begin, end = (_number(key, one, 0.0, MAX_SECONDS) for one in span)
        if end <= begin or (spans and begin < spans[-1][1]):
            raise CorrectionError(key, reason)
        spans.append((begin, end))
    return tuple(spans)


def _section_list(key: str, value: Any) -> tuple[tuple[int, int, str, float | None], ...]:
    if not isinstance(value, list) or len(value) > MAX_SECTIONS:
        raise CorrectionError(key, "sections are tables: write [[section]]")
    read: list[tuple[int, int, str, float | None]] = []
    for number, one in enumerate(value):
        try:
            read.append(_section(one))
            if number and read[-1][0] < read[-2][1]:
                raise CorrectionError("begin", "it begins before the end of the previous one")
        except CorrectionError as error:
            raise CorrectionError(error.key, f"section: {error}", number) from None
    return tuple(read)


def _section(one: Any) -> tuple[int, int, str, float | None]:
    if not isinstance(one, dict):
        raise CorrectionError("", "write [[section]] with begin, end and kind")
    for key in one:
        if key not in ("begin", "end", "kind", "energy"):
            raise CorrectionError(key, f"unknown key {printable(key)[:40]}; "
                                       "known keys: begin, end, kind, energy")  # fmt: skip
    for key in ("begin", "end", "kind"):
        if key not in one:
            raise CorrectionError("", f"{key} is missing")
    begin, end = (_number(key, one[key], -1e6, 1e6) for key in ("begin", "end"))
    if begin != int(begin) or end != int(end) or end <= begin:
        raise CorrectionError("begin", "begin and end must be whole beats, and end after begin")
    if one["kind"] not in KINDS:
        raise CorrectionError("kind", f"kind must be one of {', '.join(KINDS)}")
    energy = None if "energy" not in one else _number("energy", one["energy"], 0.0, 1.0)
    return int(begin), int(end), str(one["kind"]), energy


_READERS: dict[str, Any] = {
    "title": _text,
    "artist": _text,
    "key": _key,
    "bpm": lambda key, value: _number(key, value, MIN_BPM, MAX_BPM),
    "first_downbeat": lambda key, value: _number(key, value, 0.0, MAX_SECONDS),
    "level": lambda key, value: _number(key, value, 0.0, 1.0),
    "vocals": _vocals,
    "tags": _labels,
    "sections": _section_list,
}

NAMES = tuple(name for name in _READERS if name != "sections")
"""Corrections that `--set` accepts."""


def _sections(
    analysis: Analysis, wanted: tuple[tuple[int, int, str, float | None], ...]
) -> tuple[Section, ...]:
    # A section without an energy gets the mean energy of its bars.
    meter, first = analysis.downbeat.meter, analysis.first_bar_beat
    made = []
    for begin, end, kind, corrected in wanted:
        low = max(0, (begin - first) // meter)
        bars = analysis.energy[low : max(low + 1, (end - first) // meter)]
        energy = sum(bars) / len(bars) if bars else 0.0
        energy = energy if corrected is None else corrected
        made.append(Section(begin, end, kind, energy))  # type: ignore[arg-type]
    return tuple(made)
