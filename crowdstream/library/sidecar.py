"""Sidecars: a TOML file beside a track, with the results of its analysis and with corrections.

A person may write any of these corrections:

    [track]
    title = "Night Drive"
    artist = "Somebody"
    key = "8A"                   # or Am, A minor
    bpm = 124.0                  # the analysed grid is fitted to this tempo
    first_downbeat = 0.125       # s
    level = 0.7                  # how energetic the track is, 0 to 1
    vocals = [[12.5, 40.0]]      # s; [] for a track without vocals

    [grid]                       # see audiofile/beatgrid.py; precedes bpm and first_downbeat

    [[section]]                  # all sections, or none
    begin = 0                    # beats
    end = 64
    kind = "intro"               # intro, build, drop, break, verse, outro
    energy = 0.3                 # optional
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from crowdstream.analysis.result import Analysis, second_of
from crowdstream.audiofile.beatgrid import MAX_ANCHORS, GridError, grid_of
from crowdstream.audiofile.sidecar import rewrite, split_sidecar
from crowdstream.library.corrections import CorrectionError, Corrections, parse_corrections
from crowdstream.settings.toml import write_value
from crowdstream.system.safe_open import open_to_read
from crowdstream.system.text import MAX_SIDECAR_BYTES, TomlError, parse_toml, printable

_AROUND_KEYS = " \t\"'"
_TABLES = ("grid", "track", "section")


class SidecarError(ValueError):
    """An invalid sidecar, or one that cannot be read or written.

    The message names the file, the line and the reason.
    """


def read_sidecar(path: str) -> Corrections:
    """Return the corrections that a person wrote in a sidecar.

    A missing sidecar holds no corrections. Raises `SidecarError`.
    """
    text = _read(path)
    return _corrections(path, split_sidecar(text)[0]) if text else Corrections()


def write_sidecar(path: str, analysis: Analysis, title: str = "", artist: str = "") -> bool:
    """Write the results of an analysis to a sidecar, below the lines that a person wrote.

    `analysis` has the corrections applied. The person's lines are kept. Returns whether the file
    has changed. Raises `SidecarError` and leaves the file unchanged if it is invalid, cannot be
    written or would become too large.
    """
    text = _read(path)
    own, _found = split_sidecar(text)
    _corrections(path, own)
    written = _parse(path, own)
    new = rewrite(text, found_part(analysis, title, artist, written))
    _parse(path, new)
    if new == text:
        return False
    if len(new.encode("utf-8", "surrogatepass")) > MAX_SIDECAR_BYTES:
        raise SidecarError(f"{printable(path)}: it would have more than {MAX_SIDECAR_BYTES} bytes")
    try:
        _replace(path, new)
    except OSError as error:
        raise SidecarError(f"{printable(path)}: it can't be written ({error.strerror})") from None
    return True


def found_part(analysis: Analysis, title: str, artist: str, own: dict[str, Any]) -> str:
    """Return the lines with the results of the analysis.

    A table that a person wrote (`own`, the parsed TOML) is commented out: it takes precedence.
    """
    parts = []
    for table, lines in (
        ("grid", _grid_lines(analysis)), ("track", _track_lines(analysis, title, artist)),
        ("section", _section_lines(analysis)),
    ):  # fmt: skip
        comment = "# " if table in own else ""
        if lines:
            parts.append("".join(f"{comment}{line}\n" if line else "\n" for line in lines))
    return "\n".join(parts)


def _grid_lines(analysis: Analysis) -> list[str]:
    tempo = analysis.tempo
    if not tempo.anchors:
        return []
    confidence = f"confidence = {tempo.confidence:.3g}"
    if tempo.doubt:
        confidence += f"  # {tempo.doubt}"
    if tempo.steady:
        downbeat = second_of(tempo.anchors, 0.0)
        return ["[grid]", f"bpm = {tempo.bpm:.6g}", f"first_downbeat = {downbeat:.5f}", confidence]
    anchors = [(beat, second) for beat, second in tempo.anchors if second >= 0.0]
    # A grid holds at most MAX_ANCHORS: of more, keep every n-th anchor and the last one.
    step = -(-len(anchors) // (MAX_ANCHORS - 1))
    anchors = anchors[: -1 : step or 1] + anchors[-1:]
    if len(anchors) < 2:
        return []
    pairs = ", ".join(f"[{beat:.6g}, {second:.5f}]" for beat, second in anchors)
    median = f"# median {tempo.bpm:.2f} BPM, unsteady"
    return ["[grid]", f"anchors = [{pairs}]", median, confidence]


def _track_lines(analysis: Analysis, title: str, artist: str) -> list[str]:
    key, lines = analysis.key, ["[track]"]
    lines += [
        f"{name} = {write_value(text)}" for name, text in (("title", title), ("artist", artist))
        if text
    ]  # fmt: skip
    if key.name:
        also = f", or {', '.join(key.alternatives)}" if key.alternatives else ""
        lines.append(f'key = "{key.name}"  # confidence {key.confidence:.0%}{also}')
    lines.append(f"level = {analysis.level:.3f}")
    spans = ", ".join(f"[{begin:.2f}, {end:.2f}]" for begin, end in analysis.vocals.spans)
    lines.append(f"vocals = [{spans}]  # source: {analysis.vocals.source}")
    loud = analysis.loudness
    lines.append(f"# {analysis.seconds:.3f} s, {loud.lufs:.1f} LUFS, peak {loud.peak_db:.1f} dB")
    return lines


def _section_lines(analysis: Analysis) -> list[str]:
    lines: list[str] = []
    for one in analysis.sections:
        lines += ["", "[[section]]", f"begin = {one.begin_beat}", f"end = {one.end_beat}",
                  f'kind = "{one.kind}"', f"energy = {one.energy:.3f}"]  # fmt: skip
    return lines[1:]


def _read(path: str) -> str:
    try:
        with open_to_read(Path(path), ()) as file:
            data = file.read(MAX_SIDECAR_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise SidecarError(f"{printable(path)}: it can't be read ({error.strerror})") from None
    if len(data) > MAX_SIDECAR_BYTES:
        raise SidecarError(f"{printable(path)}: it has more than {MAX_SIDECAR_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SidecarError(f"{printable(path)} line {line}: this is not UTF-8 text") from None


def _parse(path: str, text: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except TomlError as error:
        line = f" line {error.line}" if error.line else ""
        raise SidecarError(f"{printable(path)}{line}: {printable(error.reason)}") from None


def _corrections(path: str, text: str) -> Corrections:
    values = _parse(path, text)
    track = values.get("track", {})
    if not isinstance(track, dict):
        raise _error(path, text, "", "track", "track must be a table: write [track]")
    corrections = dict(track)
    if "sections" in corrections:
        raise _error(path, text, "track", "sections", "sections are tables: write [[section]]")
    if "section" in values:
        corrections["sections"] = values["section"]
    for table in values:
        if table not in _TABLES:
            reason = (
                f"unknown table or key {printable(table)[:40]}; "
                "a sidecar has [grid], [track] and [[section]]"
            )
            raise _error(path, text, "", table, reason)
    try:
        found = parse_corrections(corrections)
    except CorrectionError as error:
        table = "section" if error.number is not None or error.key == "sections" else "track"
        raise _error(path, text, table, error.key, str(error), error.number or 0) from None
    try:
        grid = grid_of(values)
    except GridError as error:
        raise _error(path, text, "grid", "", str(error)) from None
    return replace(found, grid=grid)


def _error(
    path: str, text: str, table: str, key: str, reason: str, number: int = 0
) -> SidecarError:
    line = _line_of(text, table, key, number)
    return SidecarError(f"{printable(path)}{f' line {line}' if line else ''}: {reason}")


def _line_of(text: str, table: str, key: str, number: int) -> int:
    # The line of a key in the table of that name (number counts tables of the same name from 0),
    # else the first line of the table.
    here, seen, place = "", -1, 0
    for line, content in enumerate(map(str.strip, text.splitlines()), 1):
        if content.startswith("[") and "]" in content:
            here = content.lstrip("[").partition("]")[0].strip(_AROUND_KEYS)
            seen += here == table
            if here == table and seen == number:
                place = line
            elif not table and here == key:
                return line
        elif here == table and (seen == number or not table):
            name, equals, _value = content.partition("=")
            if equals and name.strip(_AROUND_KEYS) == key:
                return line
    return place


def _replace(path: str, text: str) -> None:
    # Replace the file atomically: a concurrent reader sees either the old or the new content.
    real = os.path.realpath(path)  # keep a link, and replace its target
    folder = os.path.dirname(real)
    mode = os.stat(real).st_mode & 0o777 if os.path.exists(real) else 0o666 & ~_umask()
    fd, temporary = tempfile.mkstemp(prefix=".crowdstream-", dir=folder)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
