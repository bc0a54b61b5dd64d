"""How a follower carries out what its leader sends.

Commands, starts and the clock act at the leader's frames, which differ from the own ones by the
shift. The scene corrects what is different in spite of that: a room that has just joined, or that
has missed something. A difference is corrected at once when the room joins, and afterwards if two
scenes in a row show the same one: commands on their way explain a difference for a moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crowdstream.commands.errors import CommandError
from crowdstream.control.clock.clock import PHRASE_BARS
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.decks.track import Item, Start, Track, first_buffer, resident
from crowdstream.control.engine_queue.request import Request, discard_reply
from crowdstream.control.rooms.leading import voice_state
from crowdstream.control.rooms.shared import (
    Host,
    MakeRequest,
    Values,
    chains,
    command_of,
    differ,
    shared_tracks,
    shared_values,
)
from crowdstream.control.scheduler import Entry, unpack
from crowdstream.desk.constants import SAMPLER
from crowdstream.desk.opcodes import LOOP_EXIT, LOOP_SET, OP_LOOP, OP_REVERSE, OP_SEEK
from crowdstream.desk.snapshot import read_snapshot

SENDER = ("rooms", 0)  # of the leader's commands; see `osc.acl.LOCAL_SENDERS`
# From joining until a room plays: with the search for the leader, 3 s. A phrase that begins within
# this time is waited for; otherwise the next bar, or beat.
RETURN_SECONDS = 2.4
AHEAD_SECONDS = 0.15  # of a resumed track, to reach the engine before its frame
RELOAD_SECONDS = 10.0  # between two attempts to load a file
# File frames by which a playhead may be off, and per frame between the two snapshots: those are of
# different moments, and the tempo may be changing.
TOLERANCE_FRAMES, TOLERANCE_SHARE = 8.0, 0.001
TEMPO_STEPS = 128  # in which a tempo that changes is averaged


class Following:
    """The follower's side. For the control thread. `core`: the server."""

    def __init__(
        self,
        core: Host,
        view: Callable[[], dict[str, Any]],
        make_request: MakeRequest,
        repaired: Callable[[str], None],
    ) -> None:
        """`view` returns the state view; `repaired` is called with what had to be corrected."""
        self._core = core
        self._view = view
        self._make_request = make_request
        self._repaired = repaired
        self._applying = False
        self._seen: dict[str, Any] = {}  # differences of the latest scene
        self._found: dict[str, Any] = {}  # those of the current one
        self._first = False
        self._scene: dict[str, Any] = {}
        self._shift = 0
        self._joined_at = 0.0
        self._resumes: dict[int, int] = {}  # frame at which a track is resumed, by buffer; 0: open
        self._tried: dict[tuple[int, str], float] = {}

    def reset(self) -> None:
        """Forget the leader."""
        self._seen, self._scene, self._resumes = {}, {}, {}

    # Messages ------------------------------------------------------------------------------

    def handle(self, message: dict[str, Any], shift: int) -> None:
        """Carry out a message of the leader; its frames are `shift` higher than the own ones."""
        self._shift = shift
        match message.get("kind"):
            case "commands":
                self._carry_out(message)
            case "clock":
                self._adopt_clock(message["clock"])
            case "starts":
                self._start(message)
            case "scene":
                self._converge(message)
        self._core.engine_queue.flush()

    def _entries(self, entries: list[Any]) -> list[Entry]:
        return [
            (str(address), unpack(values), discard_reply, SENDER) for address, values in entries
        ]

    @contextmanager
    def _leaders(self) -> Iterator[None]:
        self._applying = True
        try:
            yield
        finally:
            self._applying = False

    def _carry_out(self, message: dict[str, Any]) -> None:
        with self._leaders():
            self._perform(
                self._entries(message["entries"]), int(message["frame"]) - self._shift,
                message["beat"], int(message["now"]) - self._shift,
            )

    def _perform(
        self, batch: list[Entry], frame: int = 0, beat: float | None = None,
        now: int | None = None,
    ) -> None:
        self._core.perform(batch, frame, beat, now)

    def _adopt_clock(self, state: dict[str, Any]) -> None:
        core = self._core
        core.publish_clock(core.beat_clock.adopt(state, -self._shift, core.desk.frame))

    def _request(self, frame: int = 0, beat: float | None = None) -> Request:
        return self._make_request(SENDER, frame, self._core.clock.now(), beat)

    def _start(self, message: dict[str, Any]) -> None:
        core = self._core
        frame = int(message["frame"]) - self._shift
        request = self._request(frame, message["beat"])
        items = []
        for one in message["items"]:
            buffer = int(one["buffer"])
            try:
                track = core.track_table.find(buffer)
            except CommandError:
                continue  # it could not be loaded here
            self._resumes.pop(buffer, None)
            core.deck_manager.on_unload(track, "")  # what waits for it is out of date
            track.ratio, track.quantum = float(one["ratio"]), float(one["quantum"])
            items.append(
                Item(
                    track, request, one["rate"], one["volume"], bool(one["loop"]), one["start"],
                    one["seconds"], one["spin_up"],
                )
            )
        if items:
            core.deck_manager.start(items, frame)

    # Starts (see `DeckManager.gate`) -------------------------------------------------------

    def admits(self, start: Start) -> bool:
        """Whether a start is allowed: not that of a leader's command, which sends its starts."""
        return not (self._applying and all(item.track.deck <= SAMPLER for item in start.items))

    def restamp(self, start: Start) -> bool:
        """A start that would be late does not take place: the track is resumed in step."""
        own = start.items and start.items[0].request.sender == SENDER
        if not own or start.frame >= self._core.desk.frame:
            return True
        for item in start.items:
            self._resumes.setdefault(item.track.buffer, 0)
        return False

    def issued(self, start: Start) -> None:
        """A start is with the engine."""

    # The scene -------------------------------------------------------------------------------

    def _differs(self, what: str, difference: Any, at_once: bool = True) -> bool:
        # Whether a difference is to be corrected now. `at_once`: also when the room joins.
        self._found[what] = difference
        if self._first and at_once:
            return True
        if self._seen.get(what) != difference:
            return False
        self._repaired(what.replace("\n", " "))
        return True

    def _converge(self, scene: dict[str, Any]) -> None:
        core = self._core
        self._scene, self._found, self._first = scene, {}, bool(scene["first"])
        if self._first:
            self._joined_at = core.monotonic()
            self._tried.clear()
        self._compare_clock(scene["clock"])
        self._compare_buffers(scene["tracks"])
        self._compare_chains(scene["chains"])
        self._compare_values(scene["values"])
        for buffer, info in scene["tracks"].items():
            self._compare_track(int(buffer), info)
        self._seen = self._found

    def _compare_clock(self, state: dict[str, Any]) -> None:
        own = self._core.beat_clock.to_state()
        if (state["bpm"], state["meter"]) != (own["bpm"], own["meter"]) or self._first:
            self._adopt_clock(state)
            return
        theirs, here = state["past"][-1], self._core.beat_clock
        if abs(here.beat(theirs[0] - self._shift) - theirs[1]) > 1e-6:
            self._adopt_clock(state)

    def _compare_buffers(self, tracks: dict[str, Any]) -> None:
        core, now = self._core, self._core.monotonic()
        own = dict(shared_tracks(core))
        for buffer in own.keys() - {int(one) for one in tracks}:
            core.track_table.unload(buffer)
            self._resumes.pop(buffer, None)
        for text, info in tracks.items():
            buffer, path = int(text), str(info["path"])
            try:
                latest = core.track_table.find(buffer)
            except CommandError:
                latest = None
            if latest is not None and latest.path == path and latest.state != "failed":
                continue
            if now < self._tried.get((buffer, path), 0.0):
                continue
            self._tried[buffer, path] = now + RELOAD_SECONDS
            if buffer >= first_buffer(SAMPLER):
                number = buffer - first_buffer(SAMPLER) + 1
                entry: list[Any] = [f"/sample/{number}/load", [path]]
            else:
                entry = ["/load_buffer", [buffer, path, str(info["name"])]]
            self._perform(self._entries([entry]))

    def _compare_chains(self, wanted: dict[str, list[str]]) -> None:
        entries: list[Any] = []
        for address, own in chains(self._view()).items():
            theirs = wanted.get(address, own)
            for slot, (name, now) in enumerate(zip(theirs, own, strict=False), 1):
                if name == now or not self._differs(f"{address}/fx\n{slot}", [name, now]):
                    continue
                if now:
                    entries.append([f"{address}/fx/remove", [slot]])
                if name:
                    entries.append([f"{address}/fx/insert", [slot, name]])
        self._perform(self._entries(entries))

    def _compare_values(self, wanted: Values) -> None:
        own = shared_values(self._view())
        entries: list[Any] = []
        for name, values in wanted.items():
            if name not in own or not differ(values, own[name]):
                continue
            if self._differs(name, [values, own[name]]):
                address, arguments = command_of(name, values)
                entries.append([address, list(arguments)])
        self._perform(self._entries(entries))

    def _compare_track(self, buffer: int, info: dict[str, Any]) -> None:
        core = self._core
        track = core.track_table.shown(buffer)
        if track is None or track.path != str(info["path"]) or track.state != "ready":
            if info["voice"] is not None:
                self._resumes.setdefault(buffer, 0)
            return
        self._take_settings(track, info)
        moment = read_snapshot(core.desk)
        own, theirs = voice_state(core, track, moment), info["voice"]
        if theirs is None:
            self._resumes.pop(buffer, None)
            if own is not None and self._differs(f"stop\n{track.name}", True):
                core.deck_manager.stop(track, self._request())
        elif own is None:
            coming = track.pending_starts or core.deck_manager.is_waiting(track)
            if not coming and self._differs(f"start\n{track.name}", True):
                self._resumes.setdefault(buffer, 0)
        else:
            self._resumes.pop(buffer, None)
            self._compare_place(track, own, theirs, moment.frame)

    def _take_settings(self, track: Track, info: dict[str, Any]) -> None:
        core = self._core
        grid = info["grid"]
        known = track.grid.to_state() if track.grid else None
        if grid is not None and _plain(grid) != _plain(known):
            try:
                core.track_table.set_grid(track, Grid.from_state(grid, core.desk.sample_rate))
            except CommandError:
                self._found[f"grid\n{track.name}"] = True
        track.cues = {int(number): int(frame) for number, frame in info["cues"]}
        track.cue_frame = min(int(info["cue_frame"]), max(0, track.frames - 1))
        if not track.sounding and not track.pending_starts:
            track.rate, track.gain = float(info["rate"]), float(info["gain"])
            track.ratio, track.quantum = float(info["ratio"]), float(info["quantum"])
            track.ratio_asked = float(info["ratio_asked"])

    def _place_at(self, track: Track, voice: dict[str, Any], frame: int) -> float:
        # File frame of the leader's voice at an own frame.
        begin = int(self._scene["frame"]) - self._shift
        ahead = float(frame - begin)
        if track.on_deck:
            ahead *= self._mean_tempo(begin, frame)
        return _in_loop(float(voice["place"]) + float(voice["speed"]) * ahead, voice)

    def _mean_tempo(self, begin: int, end: int) -> float:
        # That of the clock between two frames, relative to that at the first one.
        clock, step = self._core.beat_clock, (end - begin) / TEMPO_STEPS
        places = (begin + (number + 0.5) * step for number in range(TEMPO_STEPS))
        return sum(map(clock.bpm_at, places)) / TEMPO_STEPS / clock.bpm_at(begin)

    def _compare_place(
        self, track: Track, own: dict[str, Any], theirs: dict[str, Any], frame: int
    ) -> None:
        core = self._core
        assert track.voice is not None
        request = self._request()
        if own["loop"] != theirs["loop"]:
            if self._differs(f"loop\n{track.name}", [own["loop"], theirs["loop"]]):
                self._set_loop(track, theirs["loop"], request)
            return
        if own["reverse"] != theirs["reverse"]:
            if self._differs(f"reverse\n{track.name}", theirs["reverse"]):
                core.engine_queue.add(
                    OP_REVERSE, request, target=track.voice, index=int(theirs["reverse"])
                )
            return
        ahead = abs(frame + self._shift - int(self._scene["frame"]))
        wrong = own["place"] - self._place_at(track, theirs, frame)
        loop = theirs["loop"]
        if loop:
            length = max(1, loop[1] - loop[0])
            wrong -= length * math.floor(wrong / length + 0.5)
        if abs(wrong) <= TOLERANCE_FRAMES + TOLERANCE_SHARE * ahead:
            return
        # Not its size: that differs from one scene to the next by rounding.
        if self._differs(f"position\n{track.name}", True, at_once=False):
            at, _beat = self._next(1.0)
            place = round(self._place_at(track, theirs, at))
            if 0 <= place < track.frames:
                core.deck_manager.jump(
                    track, place, self._request(at), {"op": OP_SEEK, "start": place}
                )
            self._found.pop(f"position\n{track.name}")

    def _set_loop(self, track: Track, loop: list[Any] | None, request: Request) -> None:
        fields: dict[str, Any] = {"index": LOOP_EXIT}
        if loop:
            fields = {"index": LOOP_SET, "loop_in": loop[0], "loop_out": loop[1], "z": loop[2]}
            fields["z"] = loop[2] or float(loop[1] - loop[0])
        self._core.engine_queue.add(
            OP_LOOP, request, frame=request.frame, target=track.voice or 0, **fields
        )
        track.looped = True

    # Resuming ------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a track waits to be resumed."""
        return bool(self._resumes)

    def _next(self, quantum: float) -> tuple[int, float]:
        core = self._core
        earliest = core.clock.now() + round(AHEAD_SECONDS * core.desk.sample_rate)
        beat = core.beat_clock.next_beat(quantum, earliest)
        return core.beat_clock.frame_of_command(beat, core.desk.frame), beat

    def _entrance(self) -> int:
        # The frame at which a room that has joined begins to play: that of a phrase, or a bar.
        core = self._core
        left = RETURN_SECONDS - (core.monotonic() - self._joined_at)
        most = max(AHEAD_SECONDS, left)
        meter = float(core.beat_clock.meter)
        now = core.clock.now()
        frame = 0
        for quantum in (PHRASE_BARS * meter, meter, 1.0):
            frame = self._next(quantum)[0]
            if (frame - now) / core.desk.sample_rate <= most:
                break
        return frame

    def tick(self) -> None:
        """Resume tracks whose files have been loaded."""
        for buffer in list(self._resumes):
            info = self._scene.get("tracks", {}).get(str(buffer))
            if info is None or info["voice"] is None:
                del self._resumes[buffer]
                continue
            track = self._core.track_table.shown(buffer)
            if track is None or track.path != str(info["path"]) or track.state != "ready":
                continue
            self._take_settings(track, info)
            if self._resume(track, info["voice"]):
                del self._resumes[buffer]
        self._core.engine_queue.flush()

    def _resume(self, track: Track, voice: dict[str, Any]) -> bool:
        # Returns whether it is done.
        core = self._core
        if track.sounding or track.pending_starts or core.deck_manager.is_waiting(track):
            return True
        frame = self._resumes[track.buffer]
        soonest = core.clock.now() + round(0.3 * AHEAD_SECONDS * core.desk.sample_rate)
        if frame < soonest:
            frame = self._resumes[track.buffer] = self._entrance()
        place = math.floor(self._place_at(track, voice, frame) + 0.5)
        if not 0 <= place < track.frames:
            return True  # it will have ended
        if not resident(core.desk, track, place):
            core.track_table.fetch(track, place)
            return False
        request = self._request(frame)
        loop = voice["loop"]
        whole = loop is not None and loop[0] <= 0 and loop[1] >= track.frames
        core.deck_manager.start(
            [
                Item(
                    track, request, track.rate, track.gain, whole,
                    (place + 0.5) / max(1, track.frames),
                )
            ],
            frame,
        )
        if loop is not None and not whole:
            self._set_loop(track, loop, request)
        if voice["reverse"]:
            core.engine_queue.add(
                OP_REVERSE, request, frame=frame, target=track.voice or 0, index=1
            )
        return True


def _plain(value: Any) -> Any:
    # A value as JSON returns it: tuples as lists.
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _in_loop(place: float, voice: dict[str, Any]) -> float:
    # Follow the loop of a voice, if its playhead was in it.
    loop = voice["loop"]
    if loop is None:
        return place
    begin, end = float(loop[0]), float(loop[1])
    length = float(loop[2]) or end - begin
    if not begin <= float(voice["place"]) < end or length < 1.0:
        return place
    if begin <= place < end:
        return place
    return begin + (place - begin) % length
