"""What a leader sends: commands with their frames, starts, the clock, and the scene.

A command acts `lead` later than it arrives, in the leader's room as well, so that it reaches all
rooms before its frame. Starts are sent when they are issued, because they may have waited for a
file. The *scene* is everything that is shared, once a second: a room that joins begins with it, and
a room that has missed something finds it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.commands.registry import Command, Place
from crowdstream.control.decks.track import Start, Track
from crowdstream.control.engine_queue.request import Request
from crowdstream.control.rooms.shared import (
    Host,
    arguments_of,
    chains,
    file_of,
    is_sent,
    is_stamped,
    shared_tracks,
    shared_values,
)
from crowdstream.control.scheduler import pack
from crowdstream.desk.snapshot import DeskSnapshot, read_snapshot

Bound = Sequence[tuple[Command, Place, dict[str, Any], int, Request]]


LEAD_SECONDS = 0.15  # by which commands act later


class Leading:
    """The leader's side. For the control thread. `send(message, to)` sends to one room or all."""

    def __init__(
        self,
        core: Host,
        view: Callable[[], dict[str, Any]],
        send: Callable[[dict[str, Any], str], None],
    ) -> None:
        """`view` returns the state view."""
        self._core = core
        self._view = view
        self._send = send
        self.lead = LEAD_SECONDS
        self._clock: Any = None

    def earliest(self) -> int:
        """Return the first frame that all rooms can meet."""
        core = self._core
        return core.clock.now() + round(self.lead * core.desk.sample_rate)

    def stamp(self, bound: Bound, frame: int, beat: float | None, now: int) -> int:
        """Send commands to the rooms; return the frame at which they act."""
        if not any(is_stamped(command) for command, *_ in bound):
            return frame
        if beat is None:
            frame = max(frame, self.earliest())
        entries = [
            [command.address_at(place), pack(tuple(arguments_of(command, values, count)))]
            for command, place, values, count, _request in bound
            if is_sent(command)
        ]
        if entries:
            self._send(
                {"kind": "commands", "frame": frame, "beat": beat, "now": now, "entries": entries},
                "",
            )
        return frame

    def send_clock(self) -> None:
        """Send the clock, if it has changed."""
        state = self._core.beat_clock.to_state()
        if state != self._clock:
            self._clock = state
            self._send({"kind": "clock", "clock": state}, "")

    # Starts (see `DeckManager.gate`) -------------------------------------------------------

    def admits(self, start: Start) -> bool:
        """Whether a start is allowed: all are."""
        return True

    def restamp(self, start: Start) -> bool:
        """Move a start that is too soon for the rooms; returns whether it still takes place."""
        earliest = self.earliest() - round(0.5 * self.lead * self._core.desk.sample_rate)
        if start.items and start.items[0].track.deck <= 4 and start.frame < earliest:
            start.frame, start.beat = self.earliest(), None
        return True

    def issued(self, start: Start) -> None:
        """A start is with the engine."""
        items = [
            {
                "buffer": item.track.buffer, "rate": item.rate, "volume": item.volume,
                "loop": item.loop, "seconds": item.seconds, "spin_up": item.spin_up,
                "start": (item.start_frame() + 0.5) / max(1, item.track.frames),
                "ratio": item.track.ratio, "quantum": item.track.quantum,
            }
            for item in start.items
            if item.track.deck <= 4
        ]
        if items:
            self._send(
                {"kind": "starts", "frame": start.frame, "beat": start.beat, "items": items}, ""
            )

    # The scene -----------------------------------------------------------------------------

    def send_scene(self, to: str = "") -> None:
        """Send the scene to all rooms, or to one that has joined."""
        core, view = self._core, self._view()
        moment = read_snapshot(core.desk)
        self._send(
            {
                "kind": "scene", "first": bool(to), "frame": moment.frame,
                "clock": core.beat_clock.to_state(), "values": shared_values(view),
                "chains": chains(view),
                "tracks": {
                    str(buffer): self._track(track, moment)
                    for buffer, track in shared_tracks(core)
                },
            },
            to,
        )

    def _track(self, track: Track, moment: DeskSnapshot) -> dict[str, Any]:
        return {
            "path": file_of(track.path), "name": track.name, "cue": track.cue,
            "cue_frame": track.cue_frame, "frames": track.frames,
            "cues": list(track.cues.items()), "rate": track.rate, "gain": track.gain,
            "ratio": track.ratio, "ratio_asked": track.ratio_asked, "quantum": track.quantum,
            "grid": track.grid.to_state() if track.grid else None,
            "voice": voice_state(self._core, track, moment),
        }


def voice_state(core: Host, track: Track, moment: DeskSnapshot) -> dict[str, Any] | None:
    """Return where a track plays at the frame of a snapshot; None if it does not."""
    voice = track.voice
    if voice is None or not track.sounding or not moment.playing[voice]:
        return None
    one = core.desk.voices[voice]
    if int(one["serial"]) != track.sounding:
        return None
    loop = [int(one["loop_in"]), int(one["loop_out"]), float(one["loop_exact"])]
    return {
        "place": moment.positions[voice], "speed": moment.speeds[voice],
        "loop": loop if int(one["loop"]) else None, "reverse": int(one["direction"]) < 0,
    }
