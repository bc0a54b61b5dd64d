"""Control's side of the automatic DJ: the client that has registered as the DJ, and its state.

Commands for the DJ go to the server, which forwards them and replies once the DJ has answered, so
clients need not know where the DJ runs. While a DJ is connected, the crowd's movement changes the
tempo through the DJ, which knows the range of the tracks. Otherwise control itself follows the
movement.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.commands.errors import Refused
from crowdstream.control.clock.clock import BeatClock, FrameClock
from crowdstream.control.engine_queue.request import Reply, Request, RequestReporter, discard_reply
from crowdstream.control.replies import Replies
from crowdstream.movement.follower import STEP_SECONDS, MovementFollower
from crowdstream.system.text import read_json

HEARTBEAT_TIMEOUT_SECONDS = 8.0  # the DJ sends a heartbeat each second
ANSWER_TIMEOUT_SECONDS = 5.0  # for the DJ to answer a request
MAX_PENDING = 256  # pending requests
MAX_PARTS = 64  # of the published state
HIDDEN_PARTS = ("resume", "memory")  # parts of the state that only a succeeding DJ needs
PART_LENGTH = 1000  # characters of a part: a packet that the network does not fragment


class TempoSource(Protocol):
    """A Link session, as the DJ client sees it."""

    @property
    def following(self) -> bool:
        """Whether the clock takes its tempo from there."""


class Host(RequestReporter, Protocol):
    """The parts of the server that the DJ client needs, as `Dispatcher` provides them."""

    replies: Replies
    beat_clock: BeatClock
    clock: FrameClock
    follower: MovementFollower
    monotonic: Callable[[], float]
    notify: Callable[..., None]

    @property
    def link(self) -> TempoSource:
        """The Link session."""

    def set_tempo(
        self, request: Request, bpm: float, beats: float = 0.0, seconds: float = 0.0
    ) -> None:
        """Ramp the tempo to `bpm` over `beats` beats, or if that is 0, over `seconds`."""


class DjClient:
    """Forwards requests to the DJ, and keeps its published state. For the control thread."""

    def __init__(self, core: Host) -> None:
        self._core = core
        self._sender: Any = None
        self._reply: Reply = discard_reply
        self._last_seen = 0.0
        self._pending: dict[int, tuple[float, Request]] = {}
        self._number = 0
        self._parts: list[str] = []
        self._text = ""
        self.connected = False
        self.timed_out = False  # the latest DJ did not unregister: it stopped sending heartbeats
        self.state: dict[str, Any] = {}
        """The state it published last: the playing track, the next one and the reason for it."""
        self.revision = 0  # number of changes, by which observers detect them
        self.registrations = 0  # number of clients that have registered, one after the other

    # Commands from the DJ --------------------------------------------------------------------

    def register(self, request: Request) -> None:
        """Register the sender as the DJ; notify the previous one that it is replaced.

        Raises `Refused` for a stranger.
        """
        self._core.replies.check_subscription(request.sender)
        if request.sender != self._sender:
            self.registrations += 1
            if self.connected:
                self._reply("/dj/replaced")
        self._sender, self._reply = request.sender, request.reply
        self._last_seen = self._core.monotonic()
        self.timed_out = False
        self._set_connected(True)

    def heartbeat(self, request: Request) -> None:
        """Handle a heartbeat, which also registers the sender if no DJ is connected.

        Raises `Refused` if another DJ is registered.
        """
        if not self.connected:
            self.register(request)
        self._check(request)

    def unregister(self, request: Request) -> None:
        """Unregister the DJ. Raises `Refused` if the sender is not the DJ."""
        self._check(request)
        self._disconnect()

    def handle_answer(self, request: Request, number: int, reason: str) -> None:
        """Handle the DJ's answer to request `number`; an empty `reason` means success.

        Raises `Refused` if the sender is not the DJ.
        """
        self._check(request)
        _since, waiting = self._pending.pop(number, (0.0, None))
        if waiting is None:
            return
        if reason:
            waiting.fail(reason)
        else:
            waiting.done()

    def publish(self, request: Request, part: int, parts: int, text: str) -> None:
        """Receive a part of the DJ's state, a JSON object; the last part completes it.

        `part` counts from 1. Raises `Refused` if the sender is not the DJ, or for invalid parts.
        """
        self._check(request)
        if len(text) > PART_LENGTH:
            raise Refused(f"a part may have up to {PART_LENGTH} characters, not {len(text)}")
        if part == 1:
            self._parts = []
        if part != len(self._parts) + 1 or part > parts:
            raise Refused(
                f"part {part} of {parts} follows part {len(self._parts)}: start again with part 1"
            )
        self._parts.append(text)
        if part < parts:
            return
        whole, self._parts = "".join(self._parts), []
        try:
            state = read_json(whole)
        except ValueError:
            raise Refused("the joined parts are not valid JSON") from None
        if not isinstance(state, dict):
            raise Refused("the joined parts are not a JSON object")
        self.state, self._text = state, whole
        self.revision += 1

    def check_trust(self) -> None:
        """Disconnect a DJ that is no longer trusted."""
        if self.connected and not self._core.replies.trusts(self._sender):
            self._disconnect()

    def _check(self, request: Request) -> None:
        if not self.connected or request.sender != self._sender:
            raise Refused("you are not registered as the DJ: send /dj/register begin first")
        self._last_seen = self._core.monotonic()

    # Commands to the DJ ----------------------------------------------------------------------

    def forward(self, request: Request, word: str, *arguments: Any) -> None:
        """Forward a command to the DJ; its sender gets a reply when the DJ has answered.

        Raises `Refused` if no DJ is connected, or `MAX_PENDING` requests are pending.
        """
        if not self.connected:
            raise Refused(
                "no DJ is connected: start one with crowdstream dj, or the server with --dj"
            )
        if len(self._pending) >= MAX_PENDING:
            raise Refused(f"{MAX_PENDING} commands are waiting for the DJ already")
        self._number = self._number % (2**31 - 1) + 1
        self._pending[self._number] = self._core.monotonic(), request
        self._reply("/dj/do", self._number, word, *arguments)

    def reply_status(self, request: Request) -> None:
        """Reply with the DJ's state, in parts."""
        text = self._text
        parts = [text[at : at + PART_LENGTH] for at in range(0, len(text), PART_LENGTH)] or [""]
        for number, part in enumerate(parts, 1):
            request.reply("/dj/status.reply", int(self.connected), number, len(parts), part)

    # Periodic work ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Check time-outs, and without a DJ follow the movement. Call it about every 10 ms."""
        core, now = self._core, self._core.monotonic()
        if self.connected and now > self._last_seen + HEARTBEAT_TIMEOUT_SECONDS:
            self.timed_out = True
            self._disconnect()
        late = [
            number for number, (sent_at, _) in self._pending.items()
            if now > sent_at + ANSWER_TIMEOUT_SECONDS
        ]
        for number in late:
            self._pending.pop(number)[1].fail("the DJ did not answer in time")
        held = self.connected or core.link.following
        bpm = None if held else core.follower.next_tempo(core.beat_clock.bpm, now)
        if bpm is not None:
            request = Request(core, "movement", now=core.clock.now())
            with contextlib.suppress(Refused):  # too many changes are pending: at a later step
                core.set_tempo(request, bpm, seconds=STEP_SECONDS)

    def _disconnect(self) -> None:
        self._set_connected(False)
        self._sender, self._reply = None, discard_reply
        for _at, waiting in self._pending.values():
            waiting.fail("the DJ has disconnected")
        self._pending = {}

    def _set_connected(self, there: bool) -> None:
        if there != self.connected:
            self.connected = there
            self.revision += 1
            self._core.notify("/dj/there", int(there))

    def value(self) -> dict[str, Any]:
        """Return the state for web pages, without the parts that only a succeeding DJ needs."""
        shown = {name: value for name, value in self.state.items() if name not in HIDDEN_PARTS}
        return {**shown, "there": int(self.connected)}

    def to_state(self) -> list[Any]:
        """Return the registration as JSON-compatible state; see `restore`."""
        return [self.connected, self._sender, self._text]

    def restore(self, state: list[Any]) -> None:
        """Restore the DJ that was registered with an earlier control process."""
        self.connected, sender, self._text = state
        self._sender = tuple(sender) if sender else None
        self._reply = self._core.reply_to(self._sender)
        self._last_seen = self._core.monotonic()
        self.state = json.loads(self._text) if self._text else {}
        self.revision += 1
