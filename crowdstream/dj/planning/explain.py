"""Explain a set in words."""

from __future__ import annotations

from collections.abc import Sequence

from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.timed_commands import placements, tempo_map
from crowdstream.system.text import printable

_UNDER = " " * 13


def explain(mix: Set, others: Sequence[Sequence[str]] = ()) -> list[str]:
    """Return one or more lines per track: its start, the reasons for it, and its transition.

    `others`: for each track, the next best alternatives.
    """
    where, tempo = placements(mix), tempo_map(mix)
    lines: list[str] = []
    for index, (entry, place) in enumerate(zip(mix.entries, where, strict=True)):
        begin = tempo.second(place.begin)
        name = printable(entry.path.rstrip("/").rpartition("/")[2])
        doubt = "?" if entry.uncertain else ""
        played = tempo.second(place.end) - begin
        lines.append(
            f"{_clock(begin)}  {index + 1:3}. {name}  [deck {place.deck}, "
            f"{entry.bpm:.2f}{doubt} bpm, {entry.key or 'no key'}, "
            f"beats {entry.enter:g} to {entry.leave:g}, {played:.0f} s, "
            f"{entry.gain_db:+.1f} dB]"
        )
        if entry.why:
            lines.append(_UNDER + printable(entry.why))
        if index < len(others):
            lines += [f"{_UNDER}instead of {printable(other)}" for other in others[index]]
        made = entry.transition
        if made is not None:
            length = f", {made.bars:g} bars" if made.bars else ""
            lines.append(f"{_UNDER}-> {made.kind}{length}: {printable(made.why)}")
    lines.append(f"{_clock(tempo.second(where[-1].end))}  end")
    return lines


def _clock(second: float) -> str:
    tenths = round(second * 10)
    return f"{tenths // 600:3}:{tenths % 600 / 10:04.1f}"
