"""The mixer's part of the notes: tracks and where they are, starts and jumps that wait."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from crowdstream.control.context import Context, nobody
from crowdstream.control.errors import CommandError
from crowdstream.control.grids import GridSlots
from crowdstream.control.heads import cue_here
from crowdstream.control.tracks import (
    FIRST_BUFFER,
    Due,
    Item,
    Jump,
    SourceNumbers,
    Start,
    Track,
)
from crowdstream.control.voices import RECONCILE_SECONDS, Mark
from crowdstream.desk.codes import FREE, OP_CANCEL, OP_GRID, OP_RAMP, OP_START, PLAYING
from crowdstream.desk.ramps import RAMP_EFFECT
from crowdstream.desk.sizes import VOICES

if TYPE_CHECKING:
    from crowdstream.control.core import Core

# Numbers of tracks that are left out: an earlier control may have used some in its last turn.
SAFE_DISTANCE = 1000


class MixerNotes:
    """Notes of a core's mixer, and a mixer made from notes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._mixer = core.mixer
        self._latest = 0

    # Taking notes --------------------------------------------------------------------------

    def noted(self) -> dict[str, Any]:
        """As JSON holds it; tracks are noted one by one, and named by their numbers here."""
        mixer = self._mixer
        self._latest = max(self._latest, *mixer.numbers(), 0)
        coming = [serial for track in mixer.tracks() for serial in track.coming]
        senders = [(serial, mixer.outbox.sender(serial)) for serial in coming]
        return {
            "latest": self._latest,
            "senders": [[serial, one.noted()] for serial, one in senders if one],
            "buffers": [[buffer, track.number] for buffer, track in mixer.buffers.items()],
            "incoming": [[buffer, track.number] for buffer, track in mixer._incoming.items()],
            "leaving": [[track.number, due] for track, due in mixer._leaving.items()],
            "starts": [_start_note(start) for start in mixer._starts],
            "jumps": [
                [one.track.number, one.position, one.context.noted(), one.deadline, one.order]
                for one in mixer._jumps
            ],
            "marks": [
                [serial, mark.due, mark.note] for serial, mark in mixer._marks.items() if mark.note
            ],
            "syncs": [
                [
                    [track.number for track in tracks],
                    [mixer._starts.index(start) for start in starts if start in mixer._starts],
                    context.noted(),
                    number,
                ]
                for tracks, starts, context, number in mixer._syncs
            ],
            "gone": [
                [[track.number for track in tracks], context.noted()]
                for tracks, context in mixer._when_gone
            ],
        }

    # Going on from them ----------------------------------------------------------------------

    def restore(
        self,
        note: dict[str, Any],
        tracks: dict[int, dict[str, Any]],
        held: np.ndarray,
        unsent: list[int],
    ) -> None:
        """Know the tracks that were noted, and all that waits.

        `held`: orders that the engine has; `unsent`: serial numbers of those it will get.
        """
        mixer, desk = self._mixer, self._mixer.desk
        for number, one in tracks.items():
            context = self._context(one["context"])
            mixer._tracks[number] = Track.from_note(one, desk.sample_rate, context)
        known = mixer._tracks
        for table, name in ((mixer.buffers, "buffers"), (mixer._incoming, "incoming")):
            table.update({buffer: known[number] for buffer, number in note[name]})
        mixer._leaving.update({known[number]: due for number, due in note["leaving"]})
        for serial, context in note["senders"]:
            mixer.outbox.remember(serial, self._sure(context))
        self._latest = note["latest"]
        mixer._numbers = itertools.count(self._latest + SAFE_DISTANCE)
        self._number(held)
        mixer._starts += [self._start(one) for one in note["starts"]]
        for number, position, context, deadline, order in note["jumps"]:
            jump = Jump(known[number], position, self._sure(context), deadline, order)
            mixer._jumps.append(jump)
        for serial, due, mark in note["marks"]:
            action = self._action(mark)
            if action:
                mixer._marks[serial] = Mark(due, action, mark)
        for numbers, starts, context, number in note["syncs"]:
            waited = [known[one] for one in numbers if one in known]
            places = [mixer._starts[one] for one in starts]
            mixer._syncs.append((waited, places, self._sure(context), number))
        for numbers, context in note["gone"]:
            waited = [known[one] for one in numbers if one in known]
            mixer._when_gone.append((waited, self._sure(context)))
        ramps = held[(held["op"] == OP_RAMP) & (held["index"] < RAMP_EFFECT)]
        for order in ramps[np.argsort(ramps["serial"])]:
            mixer._targets[int(order["index"])] = float(order["x"])
        self._find_voices(held, set(unsent))
        mixer._events_lost = int(desk.ledger["events_lost"])
        mixer._reconcile_at = mixer.monotonic() + RECONCILE_SECONDS
        mixer._to_loader({"do": "inventory", "track": 0})

    def _number(self, held: np.ndarray) -> None:
        # Which sources and grids are free. A source that is in use, and nobody has noted, waits
        # for the inventory.
        mixer, desk = self._mixer, self._mixer.desk
        tracks = mixer._tracks.values()
        own = {source for track in tracks for source in track.sources}
        others = set(np.flatnonzero(desk.sources["used"]).tolist()) - own
        mixer._sources = SourceNumbers(own | others)
        self._others = others
        voices = desk.voices
        read = set(voices["grid"][voices["state"] != FREE].tolist())
        read |= set(held["grid"][held["op"] == OP_START].tolist())
        read |= set(held["index"][held["op"] == OP_GRID].tolist())
        mixer.grids = GridSlots(desk, {track.grid_slot for track in tracks}, read)

    def _find_voices(self, held: np.ndarray, unsent: set[int]) -> None:
        # Which track has which voice: as noted, and where the desk knows more, as it says.
        mixer, desk = self._mixer, self._mixer.desk
        owners = {source: track for track in mixer._tracks.values() for source in track.sources}
        for track in mixer._tracks.values():
            if track.voice is not None:
                mixer._voices[track.voice] = track
        for order in held[held["op"] == OP_START]:
            owner, slot = owners.get(int(order["sources"][0])), int(order["target"])
            if owner is None:
                mixer.outbox.add(OP_CANCEL, target=slot)
            elif self._gives(slot, owner):
                beat = float(order["beat"]) if order["by_beat"] else None
                owner.coming.setdefault(int(order["serial"]), Due(int(order["frame"]), beat))
        for slot in np.flatnonzero(desk.voices["state"][:VOICES] == PLAYING).tolist():
            owner = owners.get(int(desk.voices["sources"][slot, 0]))
            if owner is None:
                mixer._send_stop(slot, 0)
            elif self._gives(slot, owner):
                serial = int(desk.voices["serial"][slot])
                owner.coming.pop(serial, None)
                owner.sounding = serial

    def _gives(self, slot: int, track: Track) -> bool:
        # Let a track have a voice, unless another one has it or it has another one.
        mixer = self._mixer
        if mixer._voices[slot] not in (None, track) or track.voice not in (None, slot):
            return False
        mixer._voices[slot], track.voice = track, slot
        return True

    def _context(self, note: list[Any] | None) -> Context | None:
        return Context.from_note(self._core, note)

    def _sure(self, note: list[Any]) -> Context:
        return self._context(note) or Context(self._core, "", nobody)

    def _start(self, note: list[Any]) -> Start:
        items, frame, deadline, beat = note
        made = [
            Item(self._mixer._tracks[number], self._sure(context), *rest)
            for number, context, *rest in items
        ]
        return Start(made, frame, deadline, beat)

    def _action(self, note: list[Any]) -> Callable[[], None] | None:
        # What a mark was set for; None where that is about a track that is gone.
        kind, *rest = note
        if kind == "synced":
            return partial(self._sure(rest[0]).reply, "/synced", rest[1])
        track = self._mixer._tracks.get(rest[-1] if kind == "silent" else rest[1])
        if track is None:
            return None
        if kind == "silent":
            return partial(setattr, track, "marked", True)
        return partial(cue_here, self._sure(rest[0]), track, rest[2])

    # The loader's side -----------------------------------------------------------------------

    def inventory(self, event: dict[str, Any]) -> None:
        """Compare with what the loader has: ask for what it lacks, have it drop what is not known.

        `event["tracks"]`: a dict each, with number (`track`), `state`, `frames`, `streamed`,
        `stems` (pairs of source and path) and `broken` (why it is).
        """
        mixer = self._mixer
        there = {entry["track"]: entry for entry in event["tracks"]}
        for number, entry in there.items():
            track = mixer._tracks.get(number)
            if track is None:
                self._drop(number, entry)
            else:
                self._catch_up(track, entry)
        theirs = {source for entry in there.values() for source, _path in entry["stems"]}
        mixer._sources.give_back(sorted(self._others - theirs))
        self._others &= theirs
        for track in [one for one in mixer.tracks() if one.number not in there]:
            if self._wanted(track):
                self._ask_again(track)
            else:
                mixer._leaving.pop(track, None)
                mixer._gone(track)

    def _wanted(self, track: Track) -> bool:
        mixer = self._mixer
        return track in mixer.buffers.values() or track in mixer._incoming.values()

    def _drop(self, number: int, entry: dict[str, Any]) -> None:
        # It was asked for in the turn of which there are no notes.
        sources = [source for source, _path in entry["stems"]]
        self._others -= set(sources)
        track = Track(number, FIRST_BUFFER, "", "", (), sources, 0.0, state="ready", marked=True)
        self._mixer._tracks[number] = track
        self._mixer._leaving[track] = self._mixer.monotonic()

    def _catch_up(self, track: Track, entry: dict[str, Any]) -> None:
        # What the loader has said and nobody has noted.
        mixer, number = self._mixer, track.number
        channels = mixer.desk.sources["channels"][track.sources].tolist()
        mixer.loader_event({**entry, "event": "opened", "channels": channels})
        if entry["state"] in ("ready", "complete"):
            mixer.loader_event({"event": "ready", "track": number})
        if entry["state"] == "complete":
            mixer.loader_event({"event": "complete", "track": number})
        if entry["state"] == "broken" and track.state != "broken":
            mixer.loader_event({"event": "broken", "track": number, "reason": entry["broken"]})
        if not self._wanted(track):
            if track not in mixer._leaving:
                mixer._to_loader({"do": "unload", "track": number})
        elif not track.complete and track.state != "broken":
            mixer.keep_places(track)
            if track.voice is None and entry.get("cue", -1) != track.cue_frame:
                mixer._to_loader({"do": "cue", "track": number, "frame": track.cue_frame})

    def _ask_again(self, track: Track) -> None:
        if track.state != "loading":
            return
        mixer = self._mixer
        try:
            mixer.ask_for_files(track)
        except CommandError as error:
            mixer.loader_event({"event": "failed", "track": track.number, "reason": str(error)})


def _start_note(start: Start) -> list[Any]:
    items = [
        [
            item.track.number, item.context.noted(), item.rate, item.volume, item.loop, item.start,
            item.seconds, item.spin_up,
        ]
        for item in start.items
    ]
    return [items, start.frame, start.deadline, start.beat]
