"""The table of a contest: one row per program, and one line per transition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.autodj.score import Score
from benchmarks.common import table

# Figure: heading, format, and whether less is better (None: it is not judged).
COLUMNS: dict[str, tuple[str, str, bool | None]] = {
    "tracks": ("tracks", ".0f", None),
    "seconds": ("minutes", "minutes", None),
    "overlap": ("overlap s", ".0f", None),
    "beat offset p50": ("beat p50 ms", ".1f", True),
    "beat offset p95": ("beat p95 ms", ".1f", True),
    "bars": ("bars %", "percent", False),
    "phrases": ("phrases %", "percent", False),
    "two voices": ("two voices s", ".1f", True),
    "two basses": ("two basses s", ".1f", True),
    "loudness step p50": ("step p50 LU", ".1f", True),
    "loudness step max": ("step max LU", ".1f", True),
    "silence": ("silence s", ".2f", True),
    "plain fades": ("plain fades %", "percent", True),
}


def _text(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    if form == "percent":
        return f"{100 * value:.0f}"
    return f"{value / 60:.1f}" if form == "minutes" else f"{value:{form}}"


def table_of(scores: Mapping[str, Score]) -> str:
    """Return the table with a row for each program."""
    rows: list[dict[str, object]] = []
    for name, result in scores.items():
        figures = result.figures()
        row: dict[str, object] = {"program": name}
        for key, (heading, form, _) in COLUMNS.items():
            row[heading] = _text(figures[key], form)
        rows.append(row)
    return table(rows)


def not_first(scores: Mapping[str, Score], name: str) -> list[str]:
    """Return the columns in which another program is better than `name`, with both values.

    Values that are printed alike count as equal; a program without a value does not compete.
    """
    behind = []
    own = scores[name].figures()
    for key, (heading, form, less) in COLUMNS.items():
        for other, result in scores.items():
            theirs, ours = result.figures()[key], own[key]
            if less is None or other == name or theirs is None:
                continue
            if ours is None:
                behind.append(f"{heading}: - ({other} {_text(theirs, form)})")
            elif _text(ours, form) != _text(theirs, form) and (theirs < ours) == less:
                behind.append(f"{heading}: {_text(ours, form)} ({other} {_text(theirs, form)})")
    return behind


def transitions_of(result: Score) -> str:
    """Return a line for each transition."""
    rows: list[dict[str, object]] = []
    for join in result.transitions:
        offsets = np.abs(1000 * np.array(join.offsets))
        rows.append({
            "at": f"{int(join.begin // 60)}:{join.begin % 60:04.1f}",
            "from": join.before[:28], "to": join.after[:28], "overlap s": f"{join.overlap:.1f}",
            "beats ms": f"{np.median(offsets):.1f}" if len(offsets) else "-",
            "bar": _yes(join.bar), "phrase": _yes(join.phrase),
            "two basses s": f"{join.two_basses:.1f}",
            "step LU": "-" if join.step is None else f"{join.step:+.1f}",
            "plain": _yes(join.plain),
        })  # fmt: skip
    return table(rows) if rows else "no transitions"


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def plays_of(result: Score) -> Sequence[str]:
    """Return a line for each track that plays."""
    lines = []
    for play in result.plays:
        rates = [passage.map.rate(at) for passage in play.passages
                 for at in (passage.begin + 1, passage.end - 1)]  # fmt: skip
        keeps = any(passage.pitch is not None for passage in play.passages)
        lines.append(
            f"{play.begin:7.1f} to {play.end:7.1f} s  {20 * np.log10(play.gain):+5.1f} dB  "
            f"rate {min(rates):.4f} to {max(rates):.4f}{', keeps its pitch' * keeps}  "
            f"{play.source.name}"
        )
    return lines
