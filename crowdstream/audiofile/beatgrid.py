"""Beat grids that people provide: a tempo and the first downbeat, or beats at given seconds.

A track's grid is the first of these that exists:

1. a grid that a person or another program has written into the track's sidecar file;
2. a person's corrections in the library (`crowdstream analyze --set`), then the library's analysis;
3. a grid found by `crowdstream analyze --sidecar` elsewhere and written into the sidecar;
4. the tempo in the tags of its audio files. It gives no beat positions and is often rounded, so it
  is marked uncertain until it has been checked against the audio (`loader/idle_scans.py`).

The sidecar of `song.flac` is `song.crowdstream.toml` in the same folder; that of a folder of stems
is `crowdstream.toml` inside it:

    [grid]
    bpm = 124.0
    first_downbeat = 0.125                # s

For a tempo that is not steady, it lists pairs of beat and second; beat 0 is a downbeat:

    [grid]
    anchors = [[0, 0.125], [64, 31.1], [128, 61.9]]

Both forms accept a `confidence` from 0 to 1, which defaults to 1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from crowdstream.audiofile.sidecar import split_sidecar
from crowdstream.audiofile.tags import Tags, read_tags
from crowdstream.system.safe_open import open_to_read
from crowdstream.system.text import (
    MAX_SIDECAR_BYTES,
    TomlError,
    parse_toml,
    printable,
    truncate_bytes,
)

MIN_BPM, MAX_BPM = 20.0, 400.0
MAX_SECONDS = 1e6
MAX_ANCHORS = 512
# Confidence below which a grid is shown as uncertain; see docs/development/analysis.md.
MIN_CERTAIN_CONFIDENCE = 0.6
# confidence of a tag's tempo that has not been checked against the audio
UNCHECKED_CONFIDENCE = 0.3
SUFFIX = ".crowdstream.toml"
MAX_NAME_BYTES = 255  # of a file name, on all relevant file systems
DIGEST_DIGITS = 8
FOLDER_SIDECAR = "crowdstream.toml"
_GRID_KEYS = ("bpm", "first_downbeat", "anchors", "confidence")


class GridError(ValueError):
    """An invalid beat grid; the message gives the reason."""


@dataclass(frozen=True)
class BeatGrid:
    """At least two pairs of beat and second, both ascending; linear between and beyond them.

    steady: the grid was given as a single tempo, which the second pair encodes.
    """

    anchors: tuple[tuple[float, float], ...]
    steady: bool = False

    @classmethod
    def of_tempo(cls, bpm: float, first_downbeat: float = 0.0) -> BeatGrid:
        """Return a grid with one tempo in beats per minute and beat 0 at `first_downbeat` (s).

        Raises `GridError`.
        """
        _check_bpm(bpm)
        pairs = ((0.0, first_downbeat), (1.0, first_downbeat + 60.0 / bpm))
        return cls(cls.through(pairs).anchors, True)

    @classmethod
    def through(cls, anchors: Sequence[tuple[float, float]]) -> BeatGrid:
        """Return the grid through pairs of beat and second, in any order. Raises `GridError`."""
        pairs = tuple(sorted((float(beat), float(second)) for beat, second in anchors))
        if not 2 <= len(pairs) <= MAX_ANCHORS:
            raise GridError(f"a grid has 2 to {MAX_ANCHORS} anchors, not {len(pairs)}")
        for beat, second in pairs:
            if not abs(beat) <= MAX_SECONDS:
                raise GridError(f"beat {beat:g} is out of range")
            if not 0.0 <= second <= MAX_SECONDS:
                raise GridError(f"{second:g} s is not a valid position in a file")
        for (beat, second), (next_beat, next_second) in pairwise(pairs):
            if next_beat <= beat:
                raise GridError(f"beat {beat:g} has two positions")
            if next_second <= second:
                raise GridError(
                    f"beat {next_beat:g} at {next_second:g} s does not come after "
                    f"beat {beat:g} at {second:g} s"
                )
            _check_bpm(60.0 * (next_beat - beat) / (next_second - second))
        return cls(pairs)

    @property
    def bpm(self) -> float:
        """Mean tempo in beats per minute between the first and the last anchor."""
        (beat, second), (last_beat, last_second) = self.anchors[0], self.anchors[-1]
        return 60.0 * (last_beat - beat) / (last_second - second)


@dataclass(frozen=True)
class FoundGrid:
    """A track's grid, and how reliable it is.

    source: "sidecar", "correction", "analysis" or "tag". confidence: 0 to 1; 1 if a person provided
    the grid. doubt: a reason to distrust the grid, empty if there is none.
    """

    grid: BeatGrid
    source: str
    confidence: float = 1.0
    doubt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values for JSON."""
        return {
            "anchors": self.grid.anchors, "steady": self.grid.steady, "source": self.source,
            "confidence": self.confidence, "doubt": self.doubt,
        }  # fmt: skip


GridLookup = Callable[[Sequence[Path]], tuple[bool, FoundGrid | None]]
"""Looks up a track by its audio files: whether the library has analysed it, and its grid."""


def _check_bpm(bpm: float) -> None:
    if not MIN_BPM * (1 - 1e-6) <= bpm <= MAX_BPM * (1 + 1e-6):
        raise GridError(f"{bpm:g} beats per minute is out of range ({MIN_BPM:g} to {MAX_BPM:g})")


def find_grid(
    stems: Sequence[Path],
    roots: Sequence[Path] = (),
    first: Tags | None = None,
    analysed: GridLookup | None = None,
) -> FoundGrid | None:
    """Return a track's grid; None if it has none.

    stems: the track's audio files. roots: the sidecar must lie inside one of these folders, if
    there are any. first: the tags of the first stem, if already known. analysed: looks up the track
    in the library. A tag gives only the tempo; the first downbeat is then assumed at the file's
    beginning. If the track has been analysed, a tag's tempo is ignored, because the analysis has
    checked it against the audio. Raises `GridError`, naming the file, for an invalid sidecar.
    """
    sidecars = [sidecar_of(stems[0])] if len(stems) == 1 else []
    parts = [_read_parts(one, roots) for one in (*sidecars, stems[0].parent / FOLDER_SIDECAR)]
    own = next((FoundGrid(one[0][0], "sidecar", one[0][1]) for one in parts if one[0]), None)
    if own is not None:
        return own
    if analysed is not None:
        known, found = analysed(stems)
        if known:
            return found
    for _, elsewhere in parts:
        if elsewhere is not None:
            return FoundGrid(elsewhere[0], "analysis", elsewhere[1])
    for stem in stems:
        tags = first if first is not None and stem is stems[0] else read_tags(stem, roots)
        if tags.bpm is not None and MIN_BPM <= tags.bpm <= MAX_BPM:
            doubt = "a tag's tempo, not checked against the audio"
            return FoundGrid(BeatGrid.of_tempo(tags.bpm), "tag", UNCHECKED_CONFIDENCE, doubt)
    return None


def sidecar_of(file: Path) -> Path:
    """Return the path of a file's sidecar: `song.crowdstream.toml` for `song.flac`.

    File names have at most 255 bytes. If the file's name leaves no room for the suffix, it is
    truncated and followed by a digest of the whole name.
    """
    name = os.fsencode(file.stem)
    room = MAX_NAME_BYTES - len(SUFFIX)
    if len(name) > room:
        digest = hashlib.sha256(name).hexdigest()[:DIGEST_DIGITS]
        return file.with_name(
            f"{truncate_bytes(file.stem, room - DIGEST_DIGITS - 1)}~{digest}{SUFFIX}"
        )
    return file.with_name(file.stem + SUFFIX)


def describe_track(
    stems: Sequence[Path], roots: Sequence[Path] = (), analysed: GridLookup | None = None
) -> dict[str, Any]:
    """Return what the loader reports about a track, as values for JSON.

    `tags`: title, artist and key of its first stem. `grid`: its grid, or `grid_fault` with the
    fault of its sidecar. analysed: see `find_grid`.
    """
    tags = read_tags(stems[0], roots)
    texts = tags.texts()
    about: dict[str, Any] = {"tags": texts} if texts else {}
    try:
        found = find_grid(stems, roots, tags, analysed)
    except GridError as error:
        return {**about, "grid_fault": str(error)}
    return {**about, "grid": found.to_dict()} if found else about


def read_sidecar(path: Path, roots: Sequence[Path] = ()) -> BeatGrid | None:
    """Return the grid in a sidecar file; None if there is no such file, or no grid in it.

    A grid that was not found by analysis takes precedence. Raises `GridError`, naming the file and
    the fault, for anything else.
    """
    own, found = _read_parts(path, roots)
    return own[0] if own else found[0] if found else None


GridWithConfidence = tuple[BeatGrid, float]
"""A grid and its confidence, 0 to 1."""


def _read_parts(
    path: Path, roots: Sequence[Path]
) -> tuple[GridWithConfidence | None, GridWithConfidence | None]:
    # The grid that a person or another program wrote into a sidecar, and the one found by analysis.
    try:
        with open_to_read(path, roots) as file:
            data = file.read(MAX_SIDECAR_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except OSError as error:
        raise GridError(f"{printable(path)}: it can't be read ({error.strerror})") from None
    try:
        if len(data) > MAX_SIDECAR_BYTES:
            raise GridError(f"it has more than {MAX_SIDECAR_BYTES} bytes")
        own, found = split_sidecar(data.decode("utf-8-sig"))
        return _rated(parse_toml(own)), _rated(parse_toml(found))
    except ValueError as error:
        reason = str(error) if not isinstance(error, UnicodeDecodeError) else "it is not UTF-8"
        if isinstance(error, TomlError) and error.line:
            reason = f"line {error.line}: {reason}"
        raise GridError(f"{printable(path)}: {printable(reason)}") from None


def _rated(values: dict[str, Any]) -> GridWithConfidence | None:
    grid = grid_of(values)
    return (grid, float(values["grid"].get("confidence", 1.0))) if grid else None


def grid_of(values: dict[str, Any]) -> BeatGrid | None:
    """Return the grid in a sidecar's values; None if there is none. Raises `GridError`."""
    grid = values.get("grid")
    if grid is None:
        return None
    if not isinstance(grid, dict):
        raise GridError("grid must be a table: write [grid]")
    for key in grid:
        if key not in _GRID_KEYS:
            raise GridError(f"grid: unknown key {key}; known are {', '.join(_GRID_KEYS)}")
    sure = grid.get("confidence", 1.0)
    if not _is_number(sure) or not 0.0 <= sure <= 1.0:
        raise GridError("grid: confidence must be a number from 0 to 1")
    if "anchors" in grid:
        if "bpm" in grid or "first_downbeat" in grid:
            raise GridError("grid: give anchors, or bpm and first_downbeat, not both")
        return BeatGrid.through(_pairs(grid["anchors"]))
    if "bpm" not in grid:
        raise GridError("grid: bpm is missing")
    bpm, downbeat = grid["bpm"], grid.get("first_downbeat", 0.0)
    for key, value in (("bpm", bpm), ("first_downbeat", downbeat)):
        if not _is_number(value):
            raise GridError(f"grid: {key} must be a number")
    return BeatGrid.of_tempo(float(bpm), float(downbeat))


def _pairs(value: Any) -> list[tuple[float, float]]:
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) for pair in value
    ):
        raise GridError("grid: anchors must be a list of [beat, seconds], such as [[0, 0.1]]")
    return [(float(beat), float(second)) for beat, second in value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
