"""The automatic DJ as control knows it: a client that has said so, and what it says of itself.

Whoever tells the DJ something says it to the server, which passes it on and answers when the DJ
has: a person need not know where the DJ runs. While one is there, the crowd's movement moves the
tempo through it, which knows what the tracks bear; else control follows the movement by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.commands.errors import Refused
from crowdstream.control.clock.clock import BeatClock, FrameClock
from crowdstream.control.engine_queue.request import Answering, Reply, Request, nobody
from crowdstream.control.replies import Replies
from crowdstream.movement.follower import STEP_SECONDS, Follower
from crowdstream.system.json_text import read_json

AWAY_SECONDS = 8.0  # without a word from it, after which it counts as gone; it speaks each second
ANSWER_SECONDS = 5.0  # that it may take to answer
MAX_ASKED = 256  # questions that may wait for it
MAX_PARTS = 64  # of what it says of itself
UNSHOWN = ("resume", "memory")  # parts of what it says that are for other DJs only
PART_LENGTH = 1000  # characters of a part: one packet that the network need not cut


class Host(Answering, Protocol):
    """The server as a DJ moves it (see `Core`)."""

    answers: Replies
    beats: BeatClock
    clock: FrameClock
    follower: Follower
    monotonic: Callable[[], float]
    tell: Callable[..., None]

    def set_tempo(
        self, request: Request, bpm: float, beats: float = 0.0, seconds: float = 0.0
    ) -> None:
        """Move the tempo to `bpm` while `beats` pass, or (0) within `seconds`."""


class DjClient:
    """Passes on what is said to the DJ, and keeps what it says. For the control thread."""

    def __init__(self, core: Host) -> None:
        self._core = core
        self._sender: Any = None
        self._reply: Reply = nobody
        self._heard = 0.0
        self._asked: dict[int, tuple[float, Request]] = {}
        self._number = 0
        self._parts: list[str] = []
        self._text = ""
        self.there = False
        self.state: dict[str, Any] = {}
        """What it said of itself last: what plays, what comes, why."""
        self.turns = 0  # changes so far: a fingerprint

    # The DJ's own words ----------------------------------------------------------------------

    def begin(self, request: Request) -> None:
        """The sender is the DJ from now on; one before it is told that it is not.

        Raises `Refused` for a stranger.
        """
        self._core.answers.check_subscription(request.sender)
        if self.there and request.sender != self._sender:
            self._reply("/dj/replaced")
        self._sender, self._reply = request.sender, request.reply
        self._heard = self._core.monotonic()
        self._turn(True)

    def on(self, request: Request) -> None:
        """The DJ is still there. Raises `Refused` for another one than that."""
        if not self.there:
            self.begin(request)
        self._check(request)

    def end(self, request: Request) -> None:
        """The DJ says good-bye. Raises `Refused` for another one."""
        self._check(request)
        self._gone()

    def answered(self, request: Request, number: int, reason: str) -> None:
        """It has done what it was told, or says why not. Raises `Refused` for another one."""
        self._check(request)
        _since, asker = self._asked.pop(number, (0.0, None))
        if asker is None:
            return
        if reason:
            asker.fail(reason)
        else:
            asker.done()

    def publish(self, request: Request, part: int, parts: int, text: str) -> None:
        """A part of what it says of itself, a JSON object; the last one completes it.

        Raises `Refused` for another one than the DJ, and for what is no such thing.
        """
        self._check(request)
        if len(text) > PART_LENGTH:
            raise Refused(f"a part has up to {PART_LENGTH} characters, not {len(text)}")
        if part == 1:
            self._parts = []
        if part != len(self._parts) + 1 or part > parts:
            raise Refused(f"part {part} of {parts} follows {len(self._parts)}: begin with 1")
        self._parts.append(text)
        if part < parts:
            return
        whole, self._parts = "".join(self._parts), []
        try:
            state = read_json(whole)
        except ValueError:
            raise Refused("the parts together are no JSON") from None
        if not isinstance(state, dict):
            raise Refused("the parts together are no JSON object")
        self.state, self._text = state, whole
        self.turns += 1

    def _check(self, request: Request) -> None:
        if not self.there or request.sender != self._sender:
            raise Refused("another DJ is there, or none: say /dj/here begin first")
        self._heard = self._core.monotonic()

    # What others say to it -------------------------------------------------------------------

    def ask(self, request: Request, word: str, *arguments: Any) -> None:
        """Pass a command on; its sender is answered when the DJ answers. Raises `Refused`."""
        if not self.there:
            raise Refused("no DJ is there: start one with crowdstream dj, or the server with --dj")
        if len(self._asked) >= MAX_ASKED:
            raise Refused(f"{MAX_ASKED} commands wait for the DJ already")
        self._number = self._number % (2**31 - 1) + 1
        self._asked[self._number] = self._core.monotonic(), request
        self._reply("/dj/do", self._number, word, *arguments)

    def tell(self, request: Request) -> None:
        """Answer with what it says of itself, in parts."""
        text = self._text
        parts = [text[at : at + PART_LENGTH] for at in range(0, len(text), PART_LENGTH)] or [""]
        for number, part in enumerate(parts, 1):
            request.reply("/dj/status.reply", int(self.there), number, len(parts), part)

    # Looking after things --------------------------------------------------------------------

    def tick(self) -> None:
        """Call it every 10 ms or so."""
        core, now = self._core, self._core.monotonic()
        if self.there and now > self._heard + AWAY_SECONDS:
            self._gone()
        late = [number for number, (at, _) in self._asked.items() if now > at + ANSWER_SECONDS]
        for number in late:
            self._asked.pop(number)[1].fail("the DJ does not answer")
        bpm = None if self.there else core.follower.next_tempo(core.beats.bpm, now)
        if bpm is not None:
            request = Request(core, "movement", now=core.clock.now())
            core.set_tempo(request, bpm, seconds=STEP_SECONDS)

    def _gone(self) -> None:
        self._turn(False)
        self._sender, self._reply = None, nobody
        for _at, asker in self._asked.values():
            asker.fail("the DJ has gone")
        self._asked = {}

    def _turn(self, there: bool) -> None:
        if there != self.there:
            self.there = there
            self.turns += 1
            self._core.tell("/dj/there", int(there))

    def value(self) -> dict[str, Any]:
        """As pages are shown it: what a DJ after this one has to know is left out."""
        shown = {name: value for name, value in self.state.items() if name not in UNSHOWN}
        return {**shown, "there": int(self.there)}

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [self.there, self._sender, self._text]

    def restore(self, note: list[Any]) -> None:
        """Go on with the DJ that was noted."""
        self.there, sender, self._text = note
        self._sender = tuple(sender) if sender else None
        self._reply = self._core.reply_to(self._sender)
        self._heard = self._core.monotonic()
        self.state = json.loads(self._text) if self._text else {}
        self.turns += 1
