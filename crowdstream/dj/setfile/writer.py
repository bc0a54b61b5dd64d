"""Write set files in the format that `reader` reads."""

from __future__ import annotations

import tomllib
from pathlib import Path

from crowdstream.dj.setfile.model import Set, SetEntry, Transition
from crowdstream.settings.toml import write_value


def write_set(mix: Set, folder: Path | None = None) -> str:
    """Return the text of a set file; paths below `folder` are written relative to it."""
    lines = ["[set]"]
    if mix.title:
        lines.append(f"title = {write_value(mix.title)}")
    lines.append(f"bpm = {_short(mix.bpm)}")
    if mix.why:
        lines.append(f"why = {write_value(mix.why)}")
    for entry in mix.entries:
        lines += ["", "[[track]]", *_entry_lines(entry, folder)]
        if entry.transition is not None:
            lines += _transition_lines(entry.transition)
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    return text


def _entry_lines(entry: SetEntry, folder: Path | None) -> list[str]:
    path = Path(entry.path)
    if folder is not None and path.is_relative_to(folder):
        path = path.relative_to(folder)
    lines = [f"path = {write_value(str(path))}"]
    (beat, second), *more = entry.anchors
    if beat == 0 and len(more) == 1:
        bpm = float(f"{entry.bpm:.12g}")
        lines += [f"bpm = {bpm!r}", f"first_downbeat = {second!r}  # s"]
    else:
        pairs = ", ".join(f"[{_short(beat)}, {second!r}]" for beat, second in entry.anchors)
        lines.append(f"grid = [{pairs}]")
    if entry.uncertain:
        lines.append(f"confidence = {_short(entry.confidence)}  # of the grid, 0 to 1")
    lines += [f"enter = {_short(entry.enter)}", f"leave = {_short(entry.leave)}"]
    if entry.ratio != 1:
        lines.append(f"ratio = {_short(entry.ratio)}  # of its beats in one of the clock")
    lines.append(f"gain = {_short(entry.gain_db)}  # dB")
    if not entry.keylock:
        lines.append("keylock = false")
    if entry.pitch:
        lines.append(f"pitch = {_short(entry.pitch)}  # semitones")
    if entry.key:
        lines.append(f"key = {write_value(entry.key)}")
    if entry.stems:
        lines.append(f"stems = {write_value(entry.stems)}")
    if entry.why:
        lines.append(f"why = {write_value(entry.why)}")
    return lines


def _transition_lines(transition: Transition) -> list[str]:
    lines = [
        "  [track.transition]",
        f"  kind = {write_value(transition.kind)}",
        f"  bars = {_short(transition.bars)}",
    ]
    if transition.why:
        lines.append(f"  why = {write_value(transition.why)}")
    lines.append("  moves = [")
    rows = [[f"{_short(row.at)},", f'"{row.target}",', f"{write_value(row.control)},",
             _short(row.value) + ("," if row.over else ""),
             _short(row.over) if row.over else ""] for row in transition.rows]  # fmt: skip
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
        lines.append(f"    [{' '.join([*cells, row[4]]).rstrip()}],")
    return [*lines, "  ]"]


def _short(value: float) -> str:
    rounded = round(value, 6)
    return str(int(rounded)) if rounded == int(rounded) else repr(rounded)
