"""A DJ session: play, handle people's commands, and report the state to the server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.player import MIN_LOAD_SECONDS, Player
from crowdstream.dj.autopilot.resume_state import name_of, resume_note
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.state import Stage
from crowdstream.dj.autopilot.timing import place_of
from crowdstream.dj.autopilot.track_selector import TrackSelector

TICK_SECONDS = 0.025
REPORT_SECONDS = 0.5  # between two reports: the state changes a few times a minute
MOVEMENT_REPORT_SECONDS = 2.0  # between reports that differ only in the crowd's movement
REPEAT_SECONDS = 5.0  # between repeats of an unchanged report: a packet may be lost
PART_LENGTH = 900  # characters per packet of a report
HISTORY_SHOWN = 10  # played tracks in a report


class Session:
    """A DJ with its command handler and its reports. Call `run`, or `tick` every 25 ms."""

    def __init__(
        self, link: ServerLink, selector: TrackSelector, crowd: CrowdInput,
        monotonic: Callable[[], float] = time.monotonic,
        analysis: Callable[[], dict[str, Any]] = dict,
    ) -> None:  # fmt: skip
        """`analysis`: returns the progress of the analysis, empty while none is running."""
        self.link = link
        self._analysis = analysis
        self.player = Player(link, selector, crowd, monotonic)
        self._now = monotonic
        self._reported: dict[str, Any] = {}
        self._reported_at = self._checked_at = 0.0
        self._parts: dict[int, str] = {}

    def run(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Play until the set is over, another DJ takes over, or `ended` returns True."""
        while not ended() and not self.player.state.finished:
            self.tick()
            time.sleep(TICK_SECONDS)
        self.link.close()

    def tick(self) -> None:
        """Handle messages, control the decks, and send a report if one is due."""
        for address, values in self.player.tick():
            if address == "/dj/do" and len(values) >= 2:
                reason = self.handle_command(str(values[1]), values[2:])
                self.link.send("/dj/answer", values[0], reason, reliable=False)
            elif address == "/dj/status.reply" and len(values) == 4:
                self._take_previous_state(int(values[1]), int(values[2]), str(values[3]))
        if self.link.connected:
            self._report()

    # Commands from people

    def handle_command(self, name: str, arguments: tuple[Any, ...]) -> str:
        """Handle a command; return the reason for a refusal, else an empty string."""
        handlers: dict[str, Callable[..., str]] = {
            "next": self._next, "skip": self._skip, "hold": self._hold, "energy": self._energy,
            "queue": self._queue, "ban": self._ban, "give": self._release,
            "hours": self._hours, "folders": self._folders, "tags": self._tags,
        }  # fmt: skip
        return handlers[name](*arguments) if name in handlers else f"unknown DJ command {name!r}"

    def _next(self) -> str:
        state = self.player.state
        if state.mix is None or state.index < 0:
            return "nothing plays yet"
        if state.stage == Stage.MIXING:
            return "the next track is already being mixed in"
        if state.next_entry is None and (self.player.selector.ends or state.closed):
            return "no other track follows"
        self.player.hold(False)
        self.player.request_next()
        return ""

    def _skip(self) -> str:
        state = self.player.state
        if state.next_entry is None:
            return "no next track is planned yet"
        if state.stage == Stage.MIXING:
            return "the next track is already being mixed in"
        self.player.ban(state.next_entry.path)
        self.player.drop_next()
        return ""

    def _hold(self, on: int) -> str:
        self.player.hold(bool(on))
        return ""

    def _energy(self, energy: float | str) -> str:
        self.player.set_energy(None if isinstance(energy, str) else float(energy))
        return ""

    def _queue(self, text: str) -> str:
        player = self.player
        try:
            path = player.selector.find(text)
        except LookupError as error:
            return str(error.args[0])
        player.enqueue(path)
        # Replace the DJ's own choice if there is time to load another track.
        state = player.state
        if state.index < 0 or state.next_entry is None or len(state.queue) > 1:
            return ""
        own = state.next_entry.path != state.served
        waits = state.stage in (Stage.LOADING, Stage.READY)
        if own and player.time_left() > MIN_LOAD_SECONDS and waits:
            player.reconsider()
        return ""

    def _ban(self, text: str) -> str:
        player, state = self.player, self.player.state
        if not text:
            if state.playing is None:
                return "nothing plays that could be banned"
            player.ban(state.playing.path)
            return self._next()
        try:
            path = player.selector.find(text)
        except LookupError as error:
            return str(error.args[0])
        player.ban(path)
        is_next = state.next_entry is not None and state.next_entry.path == path
        if is_next and state.stage != Stage.MIXING:
            player.drop_next()
        return ""

    def _hours(self, is_open: int) -> str:
        self.player.set_hours(bool(is_open))
        return ""

    def _folders(self, *folders: str) -> str:
        self.player.set_folders(tuple(map(str, folders)))
        return ""

    def _tags(self, *tags: str) -> str:
        self.player.set_tags(tuple(map(str, tags)))
        return ""

    def _release(self, what: str) -> str:
        self.player.release(what)
        return ""

    # Reports

    def _take_previous_state(self, part: int, parts: int, text: str) -> None:
        if self.player.previous_state is not None:
            return
        self._parts[part] = text
        if len(self._parts) < parts:
            return
        try:
            previous = json.loads("".join(self._parts[number] for number in range(1, parts + 1)))
        except (ValueError, KeyError):
            previous = {}
        self.player.set_previous_state(previous if isinstance(previous, dict) else {})

    def _report(self) -> None:
        now = self._now()
        if now < self._checked_at + REPORT_SECONDS or self.player.previous_state is None:
            return
        self._checked_at = now
        state = self.state()
        # Movement and progress change all the time: alone, they are reported less often.
        moving = {"movement": 0, "analysis": {}}
        same = {**state, **moving} == {**self._reported, **moving}
        soon = REPEAT_SECONDS if state == self._reported else MOVEMENT_REPORT_SECONDS
        if same and now < self._reported_at + soon:
            return
        self._reported, self._reported_at = state, now
        text = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
        parts = [text[at : at + PART_LENGTH] for at in range(0, len(text), PART_LENGTH)]
        for number, part in enumerate(parts, 1):
            self.link.send("/dj/state", number, len(parts), part, reliable=False)

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values: the current and the next track, and the reasons."""
        player, state = self.player, self.player.state
        mix = state.mix
        shown: dict[str, Any] = {
            "note": state.note, "hold": int(state.holding), "energy": state.energy,
            "closed": int(state.closed),
            "persons": list(player.override), "queue": [name_of(path) for path in state.queue],
            "history": [name_of(path) for path in state.history[-HISTORY_SHOWN:]],
            "movement": round(player.crowd.movement, 2),
            "crowd": int(player.crowd.leads(self._now())), "memory": state.memory(),
            "analysis": self._analysis(), "problem": player.selector.problem(),
        }  # fmt: skip
        if mix is None or state.index < 0:
            return shown
        entry = mix.entries[state.index]
        place = place_of(mix, state.index)
        shown["now"] = {
            "deck": state.decks.get(state.index, ""), "name": name_of(entry.path),
            "key": entry.key, "bpm": round(entry.bpm, 2), "why": entry.why,
            "uncertain": int(entry.uncertain),
            "begin": state.offset + place.begin, "going": state.offset + place.mix_out,
        }  # fmt: skip
        next_entry = state.next_entry
        if next_entry is not None:
            transition = entry.transition
            shown["next"] = {
                "deck": state.decks.get(state.next, ""), "name": name_of(next_entry.path),
                "key": next_entry.key, "bpm": round(next_entry.bpm, 2), "why": next_entry.why,
                "uncertain": int(next_entry.uncertain),
                "stage": state.stage, "kind": transition.kind if transition else "cut",
                "how": transition.why if transition else "",
                "bars": transition.bars if transition else 0,
            }  # fmt: skip
        shown["plan"] = [
            name_of(entry.path) for entry in mix.entries[state.next + 1 :][:HISTORY_SHOWN]
        ]
        at = state.resume()
        shown["resume"] = resume_note(at) if at is not None else {}
        return shown
