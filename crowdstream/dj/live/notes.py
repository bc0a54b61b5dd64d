"""What a DJ says of itself to the server: for people, and for the DJ that goes on after it."""

from __future__ import annotations

from typing import Any

from crowdstream.dj.sets import Entry, Row, Set, Transition

KEPT_BEFORE = 1  # tracks before the one that plays: how it went into that


def entry_note(entry: Entry) -> dict[str, Any]:
    """A track of a set as JSON holds it."""
    note: dict[str, Any] = {
        "path": entry.path, "anchors": entry.anchors, "enter": entry.enter, "leave": entry.leave,
        "ratio": entry.ratio, "gain_db": entry.gain_db, "keylock": entry.keylock,
        "key": entry.key, "stems": entry.stems, "why": entry.why,
    }  # fmt: skip
    if entry.transition is not None:
        way = entry.transition
        rows = [[row.at, row.who, row.control, row.value, row.over] for row in way.rows]
        note["transition"] = {"kind": way.kind, "bars": way.bars, "why": way.why, "rows": rows}
    return note


def entry_of(note: dict[str, Any]) -> Entry:
    """The inverse of `entry_note`. Raises ValueError, KeyError or TypeError for anything else."""
    way = note.get("transition")
    transition = None
    if way is not None:
        rows = tuple(
            Row(float(at), who, str(control), float(value), float(over))
            for at, who, control, value, over in way["rows"]
        )
        transition = Transition(str(way["kind"]), float(way["bars"]), rows, str(way["why"]))
    return Entry(
        str(note["path"]), tuple((float(beat), float(second)) for beat, second in note["anchors"]),
        float(note["enter"]), float(note["leave"]), float(note["ratio"]), float(note["gain_db"]),
        bool(note["keylock"]), str(note["key"]), tuple(map(str, note["stems"])),
        str(note["why"]), transition,
    )  # fmt: skip


def resume_note(mix: Set, index: int, offset: float, decks: dict[int, str]) -> dict[str, Any]:
    """What another DJ needs to go on: the tracks from the one before on, and where they are."""
    first = max(0, index - KEPT_BEFORE)
    return {
        "bpm": mix.bpm, "first": first, "index": index, "offset": offset,
        "decks": {str(number): deck for number, deck in decks.items() if number >= first},
        "entries": [entry_note(entry) for entry in mix.entries[first : index + 2]],
    }  # fmt: skip


def name_of(path: str) -> str:
    """What a track is called: its file or folder."""
    return path.rstrip("/").rpartition("/")[2]
