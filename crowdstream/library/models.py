"""Data models of the library: rows to write, entries to list, and queries."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from crowdstream.analysis.result import MIN_CERTAIN_DOWNBEAT, Analysis
from crowdstream.audiofile.beatgrid import MIN_CERTAIN_CONFIDENCE, BeatGrid, GridError
from crowdstream.library.corrections import CorrectionError, Corrections, parse_corrections
from crowdstream.library.key_names import parse_key
from crowdstream.library.scanner import STEMS, FileState
from crowdstream.system.text import normalize_accents, printable

COLUMNS = (
    "path", "play", "kind", "files", "stamp", "probe", "error", "version", "analysis", "tags",
    "sidecar", "written", "corrections", "corrected", "gone", "name", "title", "artist", "words",
    "bpm", "key", "level", "lufs", "seconds", "silent", "sure", "doubt", "downbeat",
)  # fmt: skip
CORRECTED_LABELS = "corrected_labels"  # in the column `tags`: those of a person
_KEPT = COLUMNS[: COLUMNS.index("corrected")]


@dataclass
class Row:
    """A track as the database stores it; the fields are named like the columns in `schema.py`."""

    path: str
    play: str
    kind: str
    files: tuple[FileState, ...]
    name: str
    probe: str = ""
    error: str = ""
    version: int = 0
    analysis: Analysis | None = None
    tags: dict[str, Any] = field(default_factory=dict)  # title, artist, key, bpm, labels
    sidecar: int = 0
    written: Corrections = field(default_factory=Corrections)
    corrections: Corrections = field(default_factory=Corrections)

    @cached_property
    def corrected(self) -> Analysis | None:
        """The analysis with all corrections applied; None for a bad track."""
        if self.analysis is None:
            return None
        return self.written.over(self.corrections).apply(self.analysis)

    @property
    def title(self) -> str:
        """The corrected title, else the title in the tags, else an empty string."""
        corrected = self.written.over(self.corrections).title
        return self.tags.get("title", "") if corrected is None else corrected

    @property
    def artist(self) -> str:
        """The corrected artist, else the artist in the tags, else an empty string."""
        corrected = self.written.over(self.corrections).artist
        return self.tags.get("artist", "") if corrected is None else corrected

    @property
    def labels(self) -> tuple[str, ...]:
        """The corrected tags, else the genres and other labels in the tags of the file."""
        corrected = self.written.over(self.corrections).tags
        return tuple(self.tags.get("labels", ())) if corrected is None else corrected

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> Row:
        """Build a row from the values of `COLUMNS`.

        Raises ValueError, KeyError, TypeError or AttributeError if the stored JSON is corrupt.
        """
        kept = dict(zip(COLUMNS, values, strict=True))
        text = kept["analysis"]
        tags = json.loads(kept["tags"])
        tags.pop(CORRECTED_LABELS, None)
        return cls(
            path=os.fsdecode(kept["path"]),
            play=os.fsdecode(kept["play"]),
            kind=kept["kind"],
            files=_marks(kept["files"]),
            name=kept["name"],
            probe=kept["probe"],
            error=kept["error"],
            version=kept["version"],
            analysis=Analysis.from_dict(json.loads(text)) if text else None,
            tags=tags,
            sidecar=kept["sidecar"],
            written=corrections_of(kept["written"]),
            corrections=corrections_of(kept["corrections"]),
        )


@dataclass(frozen=True)
class KnownTrack:
    """The stored values that show whether a track has changed since its analysis."""

    number: int
    path: str
    play: str
    files: tuple[FileState, ...]
    stamp: str
    probe: str
    error: str
    version: int
    sidecar: int
    gone: bool
    labelled: bool  # whether the labels in its tags were read


@dataclass(frozen=True)
class Entry:
    """A track as listed.

    number: argument of `Library.analysis`.
    play: the path that a deck loads.
    bpm: tempo in beats per minute, 0 for a track without a beat.
    key: in Camelot notation, "" for a track without a key.
    level: 0 to 1; how energetic the track is.
    lufs: integrated loudness in LUFS.
    seconds: length.
    error: reason why a bad track cannot be used; all of the numbers above are then None.
    sure: confidence in the beat grid, 0 to 1.
    doubt: why the beat grid may be wrong, as text.
    downbeat: confidence in the first beat of the bar, 0 to 1.
    """

    number: int
    path: str
    play: str
    kind: str
    name: str
    title: str
    artist: str
    bpm: float | None
    key: str | None
    level: float | None
    lufs: float | None
    seconds: float | None
    silent: bool
    error: str
    gone: bool
    files: tuple[FileState, ...]
    tags: dict[str, Any]
    corrected: bool
    sure: float | None = None
    doubt: str = ""
    downbeat: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Row.labels`."""
        return tuple(self.tags.get(CORRECTED_LABELS, self.tags.get("labels", ())))

    @property
    def uncertain(self) -> bool:
        """Whether the track has a beat grid whose confidence is below `CERTAIN`."""
        return bool(self.bpm) and self.sure is not None and self.sure < MIN_CERTAIN_CONFIDENCE

    @property
    def uncertain_downbeat(self) -> bool:
        """Whether another beat may well be the first of the bar."""
        return bool(self.bpm) and self.downbeat is not None and self.downbeat < MIN_CERTAIN_DOWNBEAT

    @property
    def stems(self) -> tuple[str, ...]:
        """The names of the track's stems; empty for a single file."""
        if self.kind == STEMS:
            return tuple(file.name for file in self.files)
        return tuple(stem["name"] for stem in self.tags.get("stems", ()))


@dataclass(frozen=True)
class Query:
    """Search criteria; a criterion that is left out matches every track.

    roots: files or folders to search below.
    bpm, level, seconds: (low, high), both inclusive.
    keys: names in Camelot notation.
    text: words, all of which must occur in title, artist, path or tags.
    bad: find bad tracks instead of good ones.
    gone: include tracks that the last run did not find on the disk.
    silent: include silent tracks.
    """

    roots: tuple[str, ...] = ()
    bpm: tuple[float, float] | None = None
    keys: tuple[str, ...] = ()
    level: tuple[float, float] | None = None
    seconds: tuple[float, float] | None = None
    text: str = ""
    bad: bool = False
    gone: bool = False
    silent: bool = True

    def where(self) -> tuple[str, list[Any]]:
        """Return an SQL condition for all criteria except `roots`, and its values."""
        clauses = ["error <> ''" if self.bad else "error = ''"]
        values: list[Any] = []
        for name, span in (("bpm", self.bpm), ("level", self.level), ("seconds", self.seconds)):
            if span is not None:
                clauses.append(f"{name} BETWEEN ? AND ?")
                values += span
        if self.keys:
            clauses.append(f"key IN ({', '.join('?' * len(self.keys))})")
            values += self.keys
        for word in normalize_accents(self.text).casefold().split():
            clauses.append("instr(words, ?) > 0")
            values.append(printable(word))
        if not self.gone:
            clauses.append("gone = 0")
        if not self.silent:
            clauses.append("silent = 0")
        return " AND ".join(clauses), values


def stamp_of(files: Sequence[FileState]) -> str:
    """Return the sizes and modification times of files as JSON, to compare.

    Stem names are included if there are several files.
    """
    return json.dumps(
        [[file.name if len(files) > 1 else "", file.size, file.mtime_ns] for file in files]
    )


def values_of(row: Row) -> list[Any]:
    """Return the values of `COLUMNS` for a row."""
    found = row.corrected
    changed = found is not None and found != row.analysis
    key = found.key.name if found else None
    if found and not key and row.tags.get("key"):
        named = parse_key(row.tags["key"])
        key = named[0] if named else ""
    shown = (row.title, row.artist, row.path, *row.labels)
    tags = dict(row.tags)
    if row.labels != tuple(tags.get("labels", ())):
        tags[CORRECTED_LABELS] = list(row.labels)
    return [
        os.fsencode(row.path), os.fsencode(row.play), row.kind,
        json.dumps([list(mark_values(mark)) for mark in row.files]), stamp_of(row.files),
        row.probe, printable(row.error), row.version, _json(row.analysis), json.dumps(tags),
        row.sidecar, _plain(row.written), _plain(row.corrections),
        _json(found) if changed else "", 0,
        printable(row.name), printable(row.title), printable(row.artist),
        "\n".join(printable(normalize_accents(text)) for text in shown).casefold(),
        found.tempo.bpm if found else None, key, found.level if found else None,
        found.loudness.lufs if found else None, found.seconds if found else None,
        int(found.silent) if found else None, found.tempo.confidence if found else None,
        printable(found.tempo.doubt) if found else None,
        found.downbeat.confidence if found else None,
    ]  # fmt: skip


def mark_values(mark: FileState) -> tuple[str, str, int, int, int]:
    """Return the fields of a mark in the order in which JSON stores them."""
    return mark.name, mark.path, mark.size, mark.mtime_ns, mark.inode


def known_of(values: Sequence[Any]) -> KnownTrack:
    """Build a `KnownTrack` from the columns of `schema.KNOWN`; raises like `Row.from_values`."""
    number, path, play, files, stamp, probe, error, version, sidecar, gone, labelled = values
    return KnownTrack(
        number, os.fsdecode(path), os.fsdecode(play), _marks(files), stamp, probe, error, version,
        sidecar, bool(gone), bool(labelled),
    )  # fmt: skip


def entry_of(values: Sequence[Any]) -> Entry:
    """Build an `Entry` from the columns of `schema.ENTRY`; raises like `Row.from_values`."""
    (number, path, play, kind, name, title, artist, bpm, key, level, lufs, seconds, silent,
     error, gone, files, tags, corrected, sure, doubt, downbeat) = values  # fmt: skip
    return Entry(
        number, os.fsdecode(path), os.fsdecode(play), kind, name, title, artist, bpm, key, level,
        lufs, seconds, bool(silent), error, bool(gone), _marks(files),
        dict(json.loads(tags)), bool(corrected), sure, doubt or "", downbeat,
    )  # fmt: skip


def _marks(text: str) -> tuple[FileState, ...]:
    return tuple(FileState(*values) for values in json.loads(text))


def _json(analysis: Analysis | None) -> str:
    return json.dumps(analysis.to_dict(), separators=(",", ":")) if analysis else ""


def _plain(corrections: Corrections) -> str:
    values = {name: value for name, value in asdict(corrections).items() if value is not None}
    if values.get("sections"):
        values["sections"] = [
            {name: value for name, value in zip(("begin", "end", "kind", "energy"), one,
                                                strict=True) if value is not None}
            for one in values["sections"]
        ]  # fmt: skip
    return json.dumps(values)


def corrections_of(text: str) -> Corrections:
    """Return the corrections in a column; none if they are of another version.

    Raises ValueError, KeyError, TypeError or AttributeError if the stored JSON is corrupt.
    """
    values = json.loads(text)
    grid = values.pop("grid", None)
    try:
        read = parse_corrections(values)
        if grid is None:
            return read
        made = BeatGrid(BeatGrid.through(grid["anchors"]).anchors, bool(grid["steady"]))
    except (CorrectionError, GridError):
        return Corrections()
    return Corrections(**{**vars(read), "grid": made})
