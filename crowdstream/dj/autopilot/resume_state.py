"""The state that a DJ stores on the server: for people, and for a DJ that takes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition


@dataclass(frozen=True)
class ResumeState:
    """Position of a DJ in its set, for another DJ to resume from.

    `mix`: starts with the playing track, which is on `deck`; the next one is on deck `following`,
    if it is loaded. `offset`: clock beat at the set's beat 0.
    """

    mix: Set
    offset: float
    deck: str
    following: str = ""


def entry_note(entry: SetEntry) -> dict[str, Any]:
    """Return a track of a set as JSON values."""
    note: dict[str, Any] = {
        "path": entry.path, "anchors": entry.anchors, "enter": entry.enter, "leave": entry.leave,
        "ratio": entry.ratio, "gain_db": entry.gain_db, "keylock": entry.keylock,
        "key": entry.key, "stems": entry.stems, "why": entry.why,
        "confidence": entry.confidence, "pitch": entry.pitch,
    }  # fmt: skip
    if entry.transition is not None:
        transition = entry.transition
        note["transition"] = {
            "kind": transition.kind, "bars": transition.bars, "why": transition.why,
            "rows": _row_notes(transition.rows),
        }  # fmt: skip
    return note


def entry_of(note: dict[str, Any]) -> SetEntry:
    """Inverse of `entry_note`. Raise ValueError, KeyError or TypeError for invalid input."""
    stored = note.get("transition")
    transition = None
    if stored is not None:
        rows = _rows_of(stored["rows"])
        kind, bars, why = str(stored["kind"]), float(stored["bars"]), str(stored["why"])
        transition = Transition(kind, bars, rows, why)
    return SetEntry(
        str(note["path"]), tuple((float(beat), float(second)) for beat, second in note["anchors"]),
        float(note["enter"]), float(note["leave"]), float(note["ratio"]), float(note["gain_db"]),
        bool(note["keylock"]), str(note["key"]), tuple(map(str, note["stems"])),
        str(note["why"]), transition, float(note.get("confidence", 1.0)),
        float(note.get("pitch", 0.0)),
    )  # fmt: skip


def _row_notes(rows: tuple[AutomationPoint, ...]) -> list[list[Any]]:
    return [[row.at, row.target, row.control, row.value, row.over] for row in rows]


def _rows_of(notes: list[list[Any]]) -> tuple[AutomationPoint, ...]:
    return tuple(
        AutomationPoint(float(at), target, str(control), float(value), float(over))
        for at, target, control, value, over in notes
    )


def resume_note(at: ResumeState) -> dict[str, Any]:
    """Return what another DJ needs to resume: the current and next track, and their position."""
    mix = at.mix
    return {
        "bpm": mix.bpm, "begin": mix.begin, "came": mix.mix_in_beats, "offset": at.offset,
        "deck": at.deck, "following": at.following, "mix_in": _row_notes(mix.mix_in_rows),
        "entries": [entry_note(entry) for entry in mix.entries[:2]],
    }  # fmt: skip


def resume_of(note: object) -> ResumeState | None:
    """Inverse of `resume_note`; None for invalid input."""
    try:
        if not isinstance(note, dict):
            return None
        entries = tuple(entry_of(one) for one in note["entries"])
        begin, mix_in_beats = float(note["begin"]), float(note["came"])
        mix = Set(
            float(note["bpm"]), entries, begin=begin, mix_in_beats=mix_in_beats,
            mix_in_rows=_rows_of(note.get("mix_in", [])),
        )  # fmt: skip
        if not entries:
            return None
        return ResumeState(mix, float(note["offset"]), str(note["deck"]), str(note["following"]))
    except (KeyError, ValueError, TypeError, AttributeError, IndexError):
        return None


def name_of(path: str) -> str:
    """Return the display name of a track: its file or folder."""
    return path.rstrip("/").rpartition("/")[2]
