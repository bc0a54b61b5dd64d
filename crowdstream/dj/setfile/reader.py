"""Read set files: TOML for people to read and edit. See docs/reference/set-files.md.

    [set]
    bpm = 124.0

    [[track]]
    path = "stems/night drive"
    bpm = 124.0
    first_downbeat = 0.125
    enter = 0
    leave = 256
      [track.transition]
      kind = "bass swap"
      bars = 16
      moves = [
        [0,  "in",  "low", 0],
        [32, "out", "low", 0, 4],
        [32, "in",  "low", 1, 4],
      ]

Error messages give the line of the mistake, which `Lines` finds: tomllib does not report it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from crowdstream.audiofile.beatgrid import BeatGrid, GridError, GridLookup, find_grid
from crowdstream.audiofile.duration import duration_seconds
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.stems.track_files import find_stems_by_audio
from crowdstream.dj.key_compatibility import is_key
from crowdstream.dj.setfile.controls import RANGES as CONTROL_RANGES
from crowdstream.dj.setfile.controls import problem
from crowdstream.dj.setfile.errors import SetError
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Target, Transition
from crowdstream.library.deck_grids import LibraryGrids
from crowdstream.settings.errors import SettingError
from crowdstream.settings.toml import decode, parse
from crowdstream.system.text import MAX_SET_BYTES, printable

_HEAD = re.compile(r"\s*\[{1,2}\s*(set|track|track\s*\.\s*transition)\s*\]{1,2}\s*(#.*)?$")
# An unterminated string extends to the end of the line. Retrying from every quote would take time
# quadratic in the length of the line.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?|\'[^\']*+\'?')


class Lines:
    """Finds the lines of keys; falls back to the line of the table, and then to line 1."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._spans: dict[tuple[str, int], tuple[int, int]] = {}
        index, name, begin = -1, "", 0
        for number, line in enumerate(self._lines):
            found = _HEAD.match(line)
            if not found:
                continue
            self._spans.setdefault((name, index), (begin, number))
            name = "".join(found[1].split()).removeprefix("track.")
            if name == "track":
                index += 1
            begin = number
        self._spans.setdefault((name, index), (begin, len(self._lines)))

    def _span(self, part: str, index: int) -> tuple[int, int]:
        return self._spans.get((part, index)) or self._spans.get(("track", index)) or (0, 0)

    def key(self, part: str, index: int, name: str) -> int:
        """Return the line number, from 1, of a key in `set`, a track or its transition."""
        begin, end = self._span(part, index)
        wanted = re.compile(rf"""\s*["']?{re.escape(name)}["']?\s*[.=]""")
        for number in range(begin, end):
            if wanted.match(self._lines[number]):
                return number + 1
        return begin + 1

    def anywhere(self, name: str) -> int:
        """Return the number of the first line with this table or key."""
        wanted = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[\].=]""")
        for number, line in enumerate(self._lines):
            if wanted.match(line):
                return number + 1
        return 1

    def rows(self, index: int) -> list[int]:
        """Return the line numbers of the lists in `track_commands` of a track's transition."""
        end = self._span("transition", index)[1]
        found: list[int] = []
        depth = 0
        for number in range(self.key("transition", index, "moves") - 1, end):
            line = _STRING.sub('""', self._lines[number]).partition("#")[0]
            if not depth and "=" in line:
                line = line.partition("=")[2]
            for letter in line:
                if letter == "[":
                    depth += 1
                    if depth == 2:
                        found.append(number + 1)
                depth -= letter == "]"
            if found and not depth:
                break
        return found


MAX_BARS = 256
RATIOS = (0.5, 1.0, 2.0)
_SET = ("title", "bpm", "why")
_TRACK = ("path", "bpm", "first_downbeat", "grid", "confidence", "enter", "leave", "ratio",
          "gain", "keylock", "pitch", "key", "stems", "why", "transition")  # fmt: skip
_TRANSITION = ("kind", "bars", "moves", "why")
_REQUIRED = object()


def read_set(path: Path) -> Set:
    """Read a set file. Raise `SetError` with the line and the reason."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SET_BYTES + 1)
    except OSError as error:
        raise SetError(f"{printable(path)}: cannot be read ({error.strerror})") from None
    return parse_set(data, path)


def parse_set(data: bytes, path: Path) -> Set:
    """Parse a set file's contents; relative paths in it start at the folder of `path`."""
    try:
        values = parse(data, Path(printable(path)), MAX_SET_BYTES)
    except SettingError as error:
        message = str(error).removeprefix("config: ").replace(" line ", ", line ", 1)
        raise SetError(message) from None
    grids = LibraryGrids()
    try:
        return _Reader(values, Lines(decode(data)), path, grids).read()
    finally:
        grids.close()


class _Reader:
    def __init__(
        self, values: Mapping[str, Any], lines: Lines, path: Path, analysed: GridLookup
    ) -> None:
        self._values = values
        self._lines = lines
        self._path = path
        self._analysed = analysed

    def _fail(self, line: int, reason: str) -> SetError:
        return SetError(f"{printable(self._path)}, line {max(1, line)}: {reason}")

    def read(self) -> Set:
        """Return the validated set."""
        for name in self._values:
            if name not in ("set", "track"):
                raise self._fail(
                    self._lines.anywhere(name), f"unknown {printable(name)!r}: a set has "
                    "[set], then a [[track]] for each track",
                )  # fmt: skip
        head = self._values.get("set", {})
        tracks = self._values.get("track", [])
        if not isinstance(head, Mapping):
            raise self._fail(self._lines.anywhere("set"), "[set] must be a table")
        if not isinstance(tracks, list) or not tracks:
            raise self._fail(self._lines.anywhere("track"), "the set has no [[track]]")
        self._names(head, _SET, "set", -1)
        entries = tuple(self._track(index, track) for index, track in enumerate(tracks))
        last = entries[-1]
        for row in last.transition.rows if last.transition else ():
            if row.target == "in":
                raise self._fail(row.line, 'no track follows, so there is no "in" to move')
        self._fits(entries)
        line = self._lines.key("set", -1, "bpm")
        bpm = self._number(head, "bpm", line, entries[0].bpm / entries[0].ratio, 20, 400)
        return Set(bpm, entries, self._text(head, "title", line), self._text(head, "why", line))

    def _names(self, values: Mapping[str, Any], known: Sequence[str], part: str, at: int) -> None:
        for name in values:
            if name not in known:
                line = self._lines.key(part, at, name)
                raise self._fail(
                    line, f"unknown key {printable(name)!r}; known: {', '.join(known)}"
                )

    def _track(self, index: int, values: Any) -> SetEntry:
        if not isinstance(values, Mapping):
            raise self._fail(self._lines.anywhere("track"), "a track must be a [[track]] table")
        self._names(values, _TRACK, "track", index)

        def line(name: str) -> int:
            return self._lines.key("track", index, name)

        text = self._text(values, "path", line("path"))
        if not text:
            raise self._fail(line("path"), "path is missing: a folder of stems, or an audio file")
        path = str((self._path.parent / os.path.expanduser(text)).absolute())
        try:
            files = find_stems_by_audio(Path(path)).stems
        except AudioFileError as error:
            raise self._fail(line("path"), str(error)) from None
        anchors, sure = self._grid(values, [file.path for file in files], line)
        enter = self._number(values, "enter", line("enter"), 0.0, -4096, 1e6)
        leave = self._number(values, "leave", line("leave"), _REQUIRED, -4096, 1e6)
        if leave <= enter:
            raise self._fail(line("leave"), f"leave {leave:g} is not after enter {enter:g}")
        ratio = self._number(values, "ratio", line("ratio"), 1.0, 0.5, 2)
        if ratio not in RATIOS:
            raise self._fail(line("ratio"), f"ratio must be 0.5, 1 or 2, not {ratio:g}")
        keylock = values.get("keylock", True)
        if not isinstance(keylock, bool):
            raise self._fail(line("keylock"), "keylock must be true or false")
        stems = values.get("stems", [file.name for file in files] if len(files) > 1 else [])
        if not isinstance(stems, list) or not all(isinstance(name, str) for name in stems):
            raise self._fail(line("stems"), 'stems must be names, such as ["drums", "bass"]')
        names = tuple(stems)
        if names and len(files) > 1 and len(names) != len(files):
            raise self._fail(
                line("stems"), f"{len(names)} stem names, but the track has {len(files)} stems"
            )
        key = self._text(values, "key", line("key")).upper()
        if key and not is_key(key):
            raise self._fail(line("key"), f"key must be a Camelot key, 1A to 12B, not {key!r}")
        entry = SetEntry(
            path, anchors, enter, leave, ratio,
            self._number(values, "gain", line("gain"), 0.0, -24, 24), keylock,
            key, names, self._text(values, "why", line("why")),
            self._transition(index, values.get("transition")),
            self._number(values, "confidence", line("confidence"), sure, 0, 1),
            self._number(values, "pitch", line("pitch"), 0.0, *CONTROL_RANGES["pitch"]),
            line("path"),
        )  # fmt: skip
        if entry.second(enter) < -1e-6:
            raise self._fail(line("enter"), f"enter {enter:g} is before the file begins")
        self._ends(entry, [file.path for file in files], line("leave"))
        return entry

    def _ends(self, entry: SetEntry, files: list[Path], line: int) -> None:
        # With loops or jumps, the playhead's range does not follow from `enter` and `leave`.
        rows = entry.transition.rows if entry.transition else ()
        if any(row.control in ("loop", "jump") for row in rows):
            return
        lengths = [duration_seconds(file) for file in files]
        end = max((length for length in lengths if length is not None), default=math.inf)
        if entry.second(entry.leave - entry.ratio) > end:
            last = entry.enter
            while entry.second(last + 1) <= end:
                last += 1
            raise self._fail(
                line, f"leave {entry.leave:g} is after the track's end: it lasts {end:.1f} s, "
                f"to beat {last:g}"
            )  # fmt: skip

    def _grid(
        self, values: Mapping[str, Any], files: list[Path], line: Any
    ) -> tuple[tuple[tuple[float, float], ...], float]:
        # The anchors and the confidence.
        try:
            if "grid" in values:
                pairs = values["grid"]
                good = isinstance(pairs, list) and all(
                    isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))
                    for pair in pairs
                )
                if not good:
                    raise self._fail(line("grid"), "grid must be pairs of beat and second")
                return BeatGrid.through([(pair[0], pair[1]) for pair in pairs]).anchors, 1.0
            if "bpm" in values:
                bpm = self._number(values, "bpm", line("bpm"), _REQUIRED, 20, 400)
                first = self._number(
                    values, "first_downbeat", line("first_downbeat"), 0.0, 0, 1e6
                )
                return steady(bpm, first), 1.0
            found = find_grid(files, analysed=self._analysed)
        except GridError as error:
            raise self._fail(line("grid" if "grid" in values else "path"), str(error)) from None
        if found is None:
            raise self._fail(line("bpm"), "bpm is missing, and the track's files contain none")
        return found.grid.anchors, found.confidence

    def _transition(self, index: int, values: Any) -> Transition | None:
        if values is None:
            return None

        def line(name: str) -> int:
            return self._lines.key("transition", index, name)

        if not isinstance(values, Mapping):
            raise self._fail(self._lines.key("track", index, "transition"),
                             "a transition must be a [track.transition] table")  # fmt: skip
        self._names(values, _TRANSITION, "transition", index)
        bars = self._number(values, "bars", line("bars"), _REQUIRED, 0, MAX_BARS)
        track_commands = values.get("moves", [])
        if not isinstance(track_commands, list):
            raise self._fail(line("moves"), "moves must be a list of lists")
        places = self._lines.rows(index)
        rows = tuple(
            self._row(row, places[at] if at < len(places) else line("moves"))
            for at, row in enumerate(track_commands)
        )
        kind = self._text(values, "kind", line("kind"))
        why = self._text(values, "why", line("why"))
        return Transition(kind, bars, rows, why, line("bars"))

    def _row(self, row: Any, line: int) -> AutomationPoint:
        form = '[beat, "out", "in" or "clock", control, value] and optionally a duration in beats'
        if not isinstance(row, list) or not 4 <= len(row) <= 5:
            raise self._fail(line, f"a move is {form}")
        at, target, control, value, *over = row
        if target not in ("out", "in", "clock"):
            raise self._fail(line, f'a move is for "out", "in" or "clock", not for {target!r}')
        if not isinstance(control, str):
            raise self._fail(line, f"a move is {form}")
        numbers = [at, value, *over]
        if not all(map(_is_number, numbers)) or not all(map(math.isfinite, numbers)):
            raise self._fail(line, f"a move is {form}")
        if over and not 0 <= over[0] <= 4096:
            raise self._fail(line, f"a move takes from 0 to 4096 beats, not {over[0]:g}")
        if abs(at) > 4096:
            raise self._fail(
                line, f"a move must be within 4096 beats of the transition, not at {at:g}"
            )
        return AutomationPoint(float(at), cast(Target, target), control, float(value),
                   float(over[0]) if over else 0.0, line)  # fmt: skip

    def _fits(self, entries: tuple[SetEntry, ...]) -> None:
        begin = mix_in_beats = 0.0
        for number, entry in enumerate(entries):
            if mix_in_beats + entry.overlap > entry.beats + 1e-6:
                raise self._fail(
                    entry.line, f"the track plays for {entry.beats:g} clock beats, but its "
                    f"transitions need {mix_in_beats + entry.overlap:g}",
                )  # fmt: skip
            mix_in_beats = entry.overlap
            begin += entry.beats - mix_in_beats
            for row in entry.transition.rows if entry.transition else ():
                other = entries[number + 1] if number + 1 < len(entries) else entry
                wrong = problem(row, (other if row.target == "in" else entry).stems)
                if wrong:
                    raise self._fail(row.line, wrong)
                if begin + row.at < 0:
                    raise self._fail(row.line, f"{-row.at:g} beats before this transition, which "
                                     f"is at beat {begin:g}, the set has not started")  # fmt: skip

    def _number(
        self, values: Mapping[str, Any], name: str, line: int, default: Any, low: float,
        high: float,
    ) -> float:  # fmt: skip
        value = values.get(name, default)
        if value is _REQUIRED:
            raise self._fail(line, f"{name} is missing")
        if not _is_number(value) or not low <= value <= high:
            shown = f"{value:g}" if _is_number(value) else printable(str(value))
            raise self._fail(line, f"{name} must be from {low:g} to {high:g}, not {shown}")
        return float(value)

    def _text(self, values: Mapping[str, Any], name: str, line: int) -> str:
        value = values.get(name, "")
        if not isinstance(value, str):
            raise self._fail(line, f"{name} must be a string in quotes")
        return value


def steady(bpm: float, first_downbeat: float) -> tuple[tuple[float, float], ...]:
    """Return the anchors of a beatgrid with a constant tempo."""
    return BeatGrid.of_tempo(bpm, first_downbeat).anchors


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
