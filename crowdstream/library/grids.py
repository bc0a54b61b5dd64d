"""Beat grids as people give them: a tempo and the first downbeat, or beats at given seconds.

A track's grid is looked for in a sidecar file, then in the tags of its audio files. The sidecar
of `song.flac` is `song.crowdstream.toml` beside it, that of a folder of stems is
`crowdstream.toml` in it:

    [grid]
    bpm = 124.0
    first_downbeat = 0.125                # s

or, for a tempo that is not steady, pairs of beat and second; beat 0 is a downbeat:

    [grid]
    anchors = [[0, 0.125], [64, 31.1], [128, 61.9]]

Where nobody wrote a grid, one that `crowdstream analyze --sidecar` has found counts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from crowdstream.inside import open_to_read
from crowdstream.library.sidecars import split
from crowdstream.library.tags import Tags, read_tags
from crowdstream.texts import cut, printable
from crowdstream.toml_text import MAX_SIDECAR_BYTES, TomlError, parse_toml

MIN_BPM, MAX_BPM = 20.0, 400.0
MOST_SECONDS = 1e6
MOST_ANCHORS = 512
SUFFIX = ".crowdstream.toml"
MAX_NAME_BYTES = 255  # of a file's name, on all file systems that matter here
DIGEST_DIGITS = 8
FOLDER_SIDECAR = "crowdstream.toml"


class GridError(ValueError):
    """A beat grid that can't be; the message says why."""


@dataclass(frozen=True)
class BeatGrid:
    """Pairs of beat and second, both rising, at least two; linear between and beyond them.

    `steady`: it was given as a tempo, which the second pair says.
    """

    anchors: tuple[tuple[float, float], ...]
    steady: bool = False

    @classmethod
    def of_tempo(cls, bpm: float, first_downbeat: float = 0.0) -> BeatGrid:
        """One tempo (beats a minute), with beat 0 at `first_downbeat` (s). Raises `GridError`."""
        _check_bpm(bpm)
        pairs = ((0.0, first_downbeat), (1.0, first_downbeat + 60.0 / bpm))
        return cls(cls.through(pairs).anchors, True)

    @classmethod
    def through(cls, anchors: Sequence[tuple[float, float]]) -> BeatGrid:
        """The grid through these pairs of beat and second, in any order. Raises `GridError`."""
        pairs = tuple(sorted((float(beat), float(second)) for beat, second in anchors))
        if not 2 <= len(pairs) <= MOST_ANCHORS:
            raise GridError(f"{len(pairs)} anchors make no grid, 2 to {MOST_ANCHORS} do")
        for beat, second in pairs:
            if not abs(beat) <= MOST_SECONDS:
                raise GridError(f"beat {beat:g} is out of range")
            if not 0.0 <= second <= MOST_SECONDS:
                raise GridError(f"{second:g} s is no place in a file")
        for (beat, second), (next_beat, next_second) in pairwise(pairs):
            if next_beat <= beat:
                raise GridError(f"beat {beat:g} has two places")
            if next_second <= second:
                raise GridError(
                    f"beat {next_beat:g} at {next_second:g} s does not come after "
                    f"beat {beat:g} at {second:g} s"
                )
            _check_bpm(60.0 * (next_beat - beat) / (next_second - second))
        return cls(pairs)

    @property
    def bpm(self) -> float:
        """Beats a minute from the first to the last anchor."""
        (beat, second), (last_beat, last_second) = self.anchors[0], self.anchors[-1]
        return 60.0 * (last_beat - beat) / (last_second - second)


def _check_bpm(bpm: float) -> None:
    if not MIN_BPM * (1 - 1e-6) <= bpm <= MAX_BPM * (1 + 1e-6):
        raise GridError(f"{bpm:g} beats a minute is out of range, {MIN_BPM:g} to {MAX_BPM:g}")


def find_grid(
    stems: Sequence[Path], roots: Sequence[Path] = (), first: Tags | None = None
) -> tuple[BeatGrid, str] | None:
    """The grid of a track, and where it was found: "sidecar" or "tag". None where there is none.

    `stems`: its audio files. `roots`: the folders that a sidecar may lie in, if any. `first`: the
    tags of the first one, where they are known. A tag says only the tempo; the first downbeat is
    then taken to be the file's beginning. Raises `GridError`, naming the file, for a sidecar that
    means nothing.
    """
    sidecars = [sidecar_of(stems[0])] if len(stems) == 1 else []
    for sidecar in (*sidecars, stems[0].parent / FOLDER_SIDECAR):
        grid = read_sidecar(sidecar, roots)
        if grid:
            return grid, "sidecar"
    for stem in stems:
        known = first if first is not None and stem is stems[0] else read_tags(stem, roots)
        bpm = known.bpm
        if bpm is not None and MIN_BPM <= bpm <= MAX_BPM:
            return BeatGrid.of_tempo(bpm), "tag"
    return None


def sidecar_of(file: Path) -> Path:
    """Where the sidecar of a single file is, or would be: `song.crowdstream.toml` for `song.flac`.

    Names have 255 bytes at most. Where the file's leaves no room for the ending, it is cut, and
    followed by a digest of the whole.
    """
    name = os.fsencode(file.stem)
    room = MAX_NAME_BYTES - len(SUFFIX)
    if len(name) > room:
        digest = hashlib.sha256(name).hexdigest()[:DIGEST_DIGITS]
        return file.with_name(f"{cut(file.stem, room - DIGEST_DIGITS - 1)}~{digest}{SUFFIX}")
    return file.with_name(file.stem + SUFFIX)


def describe_track(stems: Sequence[Path], roots: Sequence[Path] = ()) -> dict[str, Any]:
    """What the loader tells of a track: its `tags`, those of its first stem (title, artist, key),
    and its `grid`, or `grid_fault` with what is wrong.
    """
    tags = read_tags(stems[0], roots)
    texts = tags.texts()
    about: dict[str, Any] = {"tags": texts} if texts else {}
    try:
        found = find_grid(stems, roots, tags)
    except GridError as error:
        return {**about, "grid_fault": str(error)}
    if found is None:
        return about
    grid, source = found
    return {**about, "grid": {"anchors": grid.anchors, "steady": grid.steady, "source": source}}


def read_sidecar(path: Path, roots: Sequence[Path] = ()) -> BeatGrid | None:
    """The grid in a sidecar file; None where there is no such file, or no grid in it.

    Raises `GridError`, naming the file and what is wrong, for anything else.
    """
    try:
        with open_to_read(path, roots) as file:
            data = file.read(MAX_SIDECAR_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GridError(f"{printable(path)}: it can't be read ({error.strerror})") from None
    try:
        if len(data) > MAX_SIDECAR_BYTES:
            raise GridError(f"it has more than {MAX_SIDECAR_BYTES} bytes")
        own, found = split(data.decode("utf-8-sig"))
        return grid_of(parse_toml(own)) or grid_of(parse_toml(found))
    except ValueError as error:
        reason = str(error) if not isinstance(error, UnicodeDecodeError) else "it is not UTF-8"
        if isinstance(error, TomlError) and error.line:
            reason = f"line {error.line}: {reason}"
        raise GridError(f"{printable(path)}: {printable(reason)}") from None


def grid_of(values: dict[str, Any]) -> BeatGrid | None:
    """The grid in a sidecar's values, None where there is none. Raises `GridError`."""
    grid = values.get("grid")
    if grid is None:
        return None
    if not isinstance(grid, dict):
        raise GridError("grid is no table: write [grid]")
    for key in grid:
        if key not in ("bpm", "first_downbeat", "anchors"):
            raise GridError(f"grid: {key} means nothing here, bpm, first_downbeat and anchors do")
    if "anchors" in grid:
        if len(grid) > 1:
            raise GridError("grid: give anchors, or bpm and first_downbeat, not both")
        return BeatGrid.through(_pairs(grid["anchors"]))
    if "bpm" not in grid:
        raise GridError("grid: bpm is missing")
    bpm, downbeat = grid["bpm"], grid.get("first_downbeat", 0.0)
    for key, value in (("bpm", bpm), ("first_downbeat", downbeat)):
        if not _is_number(value):
            raise GridError(f"grid: {key} is not a number")
    return BeatGrid.of_tempo(float(bpm), float(downbeat))


def _pairs(value: Any) -> list[tuple[float, float]]:
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) for pair in value
    ):
        raise GridError("grid: anchors is not a list of [beat, seconds], such as [[0, 0.1]]")
    return [(float(beat), float(second)) for beat, second in value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
