"""Save control's state continuously, and restore it in a control process that replaces a dead one.

Only state that is not in the desk is saved. Voices, pending engine commands and ramp targets are
read from the desk, which takes precedence: the saved state may lack the turn in which the earlier
control process died.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from crowdstream.control.clock.clock import FrameClock
from crowdstream.control.decks.track import Track
from crowdstream.control.engine_queue.queue import pending_commands
from crowdstream.control.engine_queue.request import discard_reply
from crowdstream.control.handlers.common import cue_here
from crowdstream.control.handlers.server_request import Parts, ServerRequest
from crowdstream.control.processes.recorder import Process
from crowdstream.control.processes.storage_health import StorageHealth
from crowdstream.control.state.state_log import REMOVED, StateLog
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAPS
from crowdstream.desk.taps import CONTROL, release_tap, request_tap

SHARE = 20  # in a flood, pause for this many times the duration of the previous save
REST_SECONDS = 0.02  # the longest pause: commands since the last save can be lost
LOOK_SECONDS = 1.0  # save at least this often, even if nothing seems to have changed
COUNTERS = ("messages", "failures", "malformed", "watch", "base_bpm")
TAP_BITS = 8  # bits of a tap's request count for each process that may request it

_MISSING: Any = object()


class Stateful(Protocol):
    """A component whose state can be saved."""

    def to_state(self) -> Any:
        """State for JSON."""


class SnapshotSource(Parts, Protocol):
    """The state of a server that is saved (see `Dispatcher`)."""

    clock: FrameClock
    storage_health: StorageHealth
    state_changed: bool


class Snapshotter:
    """Saves the state of a server and restores it. For the control thread.

    After `restore`, or `begin` when there was nothing to restore, call `turn` whenever
    something may have changed.
    """

    def __init__(self, core: SnapshotSource, notes: StateLog) -> None:
        self._core = core
        self._notes = notes
        self._check_at = 0.0
        self._rest_until = 0.0
        self._published = -1
        self._tracks: set[int] = set()
        self.others: dict[str, Stateful] = {}
        """Other components to save, by key; their owners restore them."""
        self._clock_at = -LOOK_SECONDS

    # Saving ----------------------------------------------------------------------------------

    def save_if_due(self) -> None:
        """Save changes, if there may be any and a save is due."""
        now = time.monotonic()
        if now < self.due():
            return
        begin = time.thread_time()
        self.save()
        took = time.thread_time() - begin
        self._check_at = now + LOOK_SECONDS
        self._rest_until = now + min(SHARE * took, REST_SECONDS)

    def due(self) -> float:
        """Return when the next save is due (monotonic seconds)."""
        return self._rest_until if self._changed() else self._check_at

    def wake_at(self) -> float:
        """Return when to wake up for a save (monotonic seconds); infinity if nothing has changed.

        The save that looks at everything can wait for the next tick, a fraction of a second later.
        """
        return self._rest_until if self._changed() else math.inf

    def _changed(self) -> bool:
        return bool(
            self._core.state_changed or self._core.engine_queue.published != self._published
        )

    def save(self) -> None:
        """Save changes."""
        self._published = self._core.engine_queue.published
        self._core.state_changed = False
        self._notes.record(self._changes(self._core.monotonic()))

    def _changes(self, now: float) -> Iterator[tuple[str, Any]]:
        known = self._notes.values
        for key, value in self._all():
            if known.get(key, _MISSING) != value:
                yield key, value
        if now >= self._clock_at + LOOK_SECONDS:
            self._clock_at = now
            yield "clock", self._core.clock.to_state()
        left = self._tracks - self._core.track_table.numbers()
        self._tracks -= left
        for number in left:
            yield f"track/{number}", REMOVED
        changes = self._core.scheduler.changes
        if changes:
            self._core.scheduler.changes = {}
            yield from changes.items()

    def _all(self) -> Iterator[tuple[str, Any]]:
        core = self._core
        for track in core.track_table.tracks():
            self._tracks.add(track.number)
            yield f"track/{track.number}", track.to_state()
        mixer = (core.track_table, core.voice_allocator, core.deck_manager)
        yield "mixer", {key: value for one in mixer for key, value in one.to_state().items()}
        yield "core", {name: getattr(core, name) for name in COUNTERS}
        yield "refused", core.engine_queue.refused
        yield "subscribers", core.subscribers.to_state()
        yield "watchers", core.changes.to_state()
        yield "reply_ports", core.reply_ports.to_state()
        yield "feedback", core.feedback.to_state()
        yield "medium", core.storage_health.to_state()
        yield "outbox", core.engine_queue.to_state()
        yield "beats", core.beat_clock.to_state()
        yield "follower", core.follower.to_state()
        yield "dj", core.dj.to_state()
        yield "link", core.link.to_state()
        yield "quantize", core.quantize.to_state()
        yield "patches", core.routing.to_state()
        yield "pitches", core.pitches.to_state()
        yield "sampler", core.sampler.to_state()
        yield "announcer", core.announcer.to_state()
        yield "live_inputs", core.live_inputs.to_state()
        yield "jack", core.jack.to_state()
        yield "opening_hours", core.opening_hours.to_state()
        yield "lights", core.lights.to_state()
        yield "midi", core.midi.to_state()
        yield "rooms", core.rooms.to_state()
        yield "mixing", core.channel_strips.to_state()
        yield "effects", core.effects.to_state()
        yield "meters", core.meters.to_state()
        yield "ticks", core.midi_ticks.to_state()
        yield "recordings", core.recordings.to_state()
        yield "broadcasts", core.broadcasts.to_state()
        yield "broadcast_title", core.broadcasts.title
        for name, other in self.others.items():
            yield name, other.to_state()

    # Restoring -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start saving."""
        self._core.scheduler.changes = {}
        self.save_if_due()

    def restore(self, recorder: Process | None = None) -> None:
        """Restore the saved state and that of the desk. `recorder`: the process, if running."""
        core, values = self._core, self._notes.values
        for name, value in values["core"].items():
            setattr(core, name, value)
        core.engine_queue.refused = values["refused"]
        core.subscribers.restore(values["subscribers"], core.reply_to)
        core.changes.restore(values["watchers"], core.reply_to)
        core.storage_health.restore(values["medium"])
        core.beat_clock.restore(values["beats"])
        core.clock.restore(values.get("clock", [None, []]))
        core.engine_queue.restore(values["outbox"])
        held = pending_commands(core.desk)
        core.follower.from_state(values["follower"])
        core.dj.restore(values["dj"])
        core.quantize.restore(values["quantize"])
        core.routing.restore(values["patches"])
        core.channel_strips.restore(values["mixing"])
        core.sampler.restore(values["sampler"])
        core.live_inputs.restore(values["live_inputs"])
        core.jack.restore(values["jack"])
        core.opening_hours.restore(values["opening_hours"])
        core.link.restore(values.get("link"))
        if "lights" in values:  # an earlier version has none
            core.lights.restore(values["lights"])
        if "rooms" in values:
            core.rooms.restore(values["rooms"])
        if "midi" in values:
            core.midi.restore(values["midi"])
        self._restore_mixer(values, held)
        core.pitches.restore(values["pitches"])
        core.effects.restore(values["effects"], held)
        for one, rate, stems in values["meters"]:
            request = self._request_of(one)
            if request:
                core.meters.restore(request, rate, stems, core.monotonic())
        core.midi_ticks.restore([(tuple(one), *rest) for one, *rest in values["ticks"] if one])
        core.recordings.restore(values["recordings"], self._request_of, recorder)
        settle_taps(core.desk, [*core.recordings.held_taps(), *core.meters.held_taps()])
        title = values.get("broadcast_title", ("", ""))  # an earlier version has none
        core.broadcasts.restore(values.get("broadcasts", []), title)
        core.scheduler.restore(values)
        core.reply_ports.restore(values.get("reply_ports", []))
        core.feedback.restore(values.get("feedback", []))
        core.engine_queue.flush()
        self.begin()

    def _restore_mixer(self, values: Mapping[str, Any], held: np.ndarray) -> None:
        # Tracks, voices and pending commands are saved together; each part restores its own.
        core, rate = self._core, self._core.desk.sample_rate
        notes = {
            int(key[6:]): value for key, value in values.items() if key.startswith("track/")
        }
        tracks = {
            number: Track.from_state(note, rate, self._request_of(note["request"]))
            for number, note in notes.items()
        }
        self._tracks = set(tracks)
        note = values["mixer"]
        core.track_table.restore(note, tracks, held, self._request_or_silent)
        core.deck_manager.restore(note, tracks, held, self._request_or_silent)
        core.voice_allocator.restore(note, tracks, held, self._request_or_silent, self._action)
        core.announcer.restore(values["announcer"], tracks, self._request_or_silent)
        core.track_table.request_inventory()

    def _request_of(self, note: list[Any] | None) -> ServerRequest | None:
        return ServerRequest.from_state(self._core, note)

    def _request_or_silent(self, note: list[Any] | None) -> ServerRequest:
        return self._request_of(note) or ServerRequest(self._core, "", discard_reply)

    def _action(self, note: list[Any]) -> Callable[[], None] | None:
        # The action due at a mark; None if its track no longer exists.
        kind, one, number, *rest = note
        request = self._request_or_silent(one)
        if kind == "synced":
            return partial(request.reply, "/synced", number)
        found = [track for track in self._core.track_table.tracks() if track.number == number]
        return partial(cue_here, request, found[0], rest[0]) if found else None

    def close(self) -> None:
        """Close the saved state."""
        self._notes.close()

    def inventory(self, event: dict[str, Any]) -> None:
        """Process the loader's inventory."""
        self._core.track_table.inventory(event)


def settle_taps(desk: Desk, wanted: list[int]) -> None:
    """Make control hold each tap as often as it occurs in `wanted`, and no others.

    A tap that is held already stays on without interruption.
    """
    for tap in range(TAPS):
        requests = int(desk.taps["on"][tap]) >> TAP_BITS * CONTROL
        surplus = requests % (1 << TAP_BITS) - wanted.count(tap)
        for _ in range(abs(surplus)):
            (release_tap if surplus > 0 else request_tap)(desk, tap, CONTROL)
