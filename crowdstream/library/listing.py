"""List the tracks of the library, as text for people or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from crowdstream.library.database import Library
from crowdstream.library.models import Entry
from crowdstream.system.progress_bar import format_duration
from crowdstream.system.text import printable


def lines(entries: list[Entry]) -> Iterator[str]:
    """Yield a line per track: tempo, key, energy, loudness, length and name.

    The line of a bad track gives the reason instead. If the beat grid is uncertain, the tempo has
    a question mark, and the line ends with the reason. An uncertain downbeat is noted as well.
    """
    if entries and not entries[0].error:
        yield f"{'BPM':>6}  {'key':<3}  {'energy':>6}  {'LUFS':>5}  {'length':>7}  track"
    for entry in entries:
        if entry.error:
            yield f"{printable(entry.path)}: {entry.error}"
            continue
        title = " - ".join(text for text in (entry.artist, entry.title) if text) or entry.name
        bpm = f"{entry.bpm:6.2f}" if entry.bpm else f"{'-':>6}"
        bpm += "?" if entry.uncertain else " "
        loud = "silent" if entry.silent else f"{entry.lufs or 0:5.1f}"
        note = "  (corrected)" if entry.corrected else ""
        if entry.uncertain:
            note += f"  (uncertain grid{': ' if entry.doubt else ''}{printable(entry.doubt)})"
        elif entry.uncertain_downbeat:
            note += "  (uncertain downbeat)"
        yield (
            f"{bpm} {entry.key or '-':<3}  {entry.level or 0:6.2f}  {loud:>5}  "
            f"{format_duration(entry.seconds or 0):>7}  {printable(title)}{note}  "
            f"{printable(entry.path)}"
        )


def json_lines(library: Library, entries: list[Entry]) -> Iterator[str]:
    """Yield a JSON object per track: the fields of `Entry`, and `analysis` for a good track."""
    for entry in entries:
        about = {
            **asdict(entry), "stems": entry.stems, "uncertain": entry.uncertain,
            "uncertain_downbeat": entry.uncertain_downbeat,
        }  # fmt: skip
        if not entry.error:
            about["analysis"] = library.analysis(entry.number).to_dict()
        yield json.dumps(about)
