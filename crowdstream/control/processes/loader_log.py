"""Log of the loader's requests and results, from which its successor is set up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Entry:
    """One track that the loader has opened or has been requested to open.

    `opened`: its length is known and it owns pages. `files`: the identities of its files at that
    time. `cue` is a fraction of the length, valid until the track is opened; then `cue_frame`
    counts.
    """

    number: int
    stems: list[tuple[int, str]]
    cue: float = 0.0
    folder: str = ""  # to be classified before the track is opened
    opened: bool = False
    files: list[tuple[int, int]] = field(default_factory=list)
    cue_frame: int = 0
    streamed: bool = False
    places: list[int] = field(default_factory=list)
    complete: bool = False
    measured: bool = False
    broken: str = ""
    leaving: bool = False

    def path(self, source: int) -> str | None:
        """The file of one of the track's sources."""
        return next((path for number, path in self.stems if number == source), None)

    def adoption(self) -> dict[str, Any]:
        """The request that makes another loader adopt the track."""
        return {
            "do": "adopt", "track": self.number, "stems": self.stems, "files": self.files,
            "cue": self.cue_frame, "streamed": self.streamed, "places": self.places,
            "measured": self.measured, "broken": self.broken,
        }  # fmt: skip


class LoaderLog:
    """Records requests and events. `entries` holds tracks by number."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._onsets_requested = False
        self._inventory_pending = False  # an inventory was requested and has not been received

    def to_state(self) -> list[Any]:
        """State for JSON; see `restore`."""
        return [[asdict(entry) for entry in self.entries.values()], self._onsets_requested]

    def restore(self, note: list[Any]) -> None:
        """Restore saved state."""
        self.entries = {one["number"]: Entry(**one) for one in note[0]}
        self._onsets_requested = note[1]

    def record_request(self, request: dict[str, Any]) -> None:
        """Record a request to the loader."""
        number = int(request.get("track", 0))
        entry = self.entries.get(number)
        if request["do"] == "load":
            stems, folder = list(request["stems"]), str(request.get("folder", ""))
            self.entries[number] = Entry(number, stems, float(request["cue"]), folder)
        elif request["do"] == "attacks":
            self._onsets_requested = True
        elif request["do"] == "inventory":
            self._inventory_pending = True
        elif entry is None:
            return
        elif request["do"] == "cue":
            entry.cue_frame = int(request["frame"])
        elif request["do"] == "keep":
            entry.places = list(request["frames"])
        elif request["do"] == "unload":
            entry.leaving = True

    def record_event(self, event: dict[str, Any]) -> None:
        """Record an event of the loader."""
        if event["event"] == "inventory":
            self._inventory_pending = False
            there = {int(found["track"]) for found in event["tracks"]}
            for known in list(self.entries.values()):
                if known.opened and known.number not in there:
                    del self.entries[known.number]
            for found in event["tracks"]:
                self._found(found)
            return
        entry = self.entries.get(int(event.get("track", 0)))
        if entry is None:
            return
        kind = event["event"]
        if kind == "opened":
            entry.opened = True
            if "kept" in event:
                paths = dict(entry.stems)
                entry.stems = [(source, paths[source]) for source in event["kept"]]
            entry.files = list(event["files"])
            entry.streamed = bool(event["streamed"])
            entry.cue_frame = min(int(entry.cue * event["frames"]), int(event["frames"]) - 1)
        elif kind == "complete":
            entry.complete = True
        elif kind == "loudness":
            entry.measured = entry.complete
        elif kind == "broken":
            entry.broken = str(event["reason"])
        elif kind in ("failed", "unloaded"):
            del self.entries[entry.number]

    def _found(self, found: dict[str, Any]) -> None:
        # Reported by a loader that started before this control process.
        number = int(found["track"])
        entry = self.entries.setdefault(number, Entry(number, []))
        entry.stems = [(int(source), str(path)) for source, path in found["stems"]]
        entry.files = [(int(size), int(changed)) for size, changed in found["files"]]
        entry.opened = True
        entry.cue_frame = int(found["cue"])
        entry.streamed = bool(found["streamed"])
        entry.places = list(found["places"])
        entry.complete = found["state"] == "complete"
        entry.measured = bool(found["measured"])
        entry.broken = str(found["broken"])

    def fail(self, path: str, reason: str) -> list[dict[str, Any]]:
        """Return the events that fail every unfinished track with a bad file."""
        events = []
        for entry in list(self.entries.values()):
            if path in (own for _, own in entry.stems) and not entry.broken and not entry.complete:
                kind = "broken" if entry.opened else "failed"
                events.append({"event": kind, "track": entry.number, "reason": reason})
        return events

    def unload_events(self) -> list[dict[str, Any]]:
        """Return events for the tracks that the dead loader was to unload before opening them."""
        return [
            {"event": "unloaded", "track": entry.number}
            for entry in self.entries.values()
            if entry.leaving and not entry.opened
        ]

    def requests_for_successor(self) -> list[dict[str, Any]]:
        """Return the requests for a new loader: adopt open tracks, then redo what is unfinished."""
        entries = list(self.entries.values())
        # Streamed tracks first: playback needs their next pages; tracks that fit can wait.
        opened = sorted((e for e in entries if e.opened), key=lambda entry: not entry.streamed)
        requests = [entry.adoption() for entry in opened]
        requests.append({"do": "adopted"})
        if self._onsets_requested:
            requests.append({"do": "attacks"})
        requests += [{"do": "unload", "track": entry.number} for entry in opened if entry.leaving]
        requests += [
            {"do": "load", "track": entry.number, "stems": entry.stems, "cue": entry.cue,
             "folder": entry.folder}
            for entry in entries
            if not entry.opened
        ]
        if self._inventory_pending:
            requests.append({"do": "inventory"})
        return requests
