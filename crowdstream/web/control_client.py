"""The way to control: what it says, and what it is to do. JSON lines over two pipes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

ANSWER_SECONDS = 5.0  # that control may take to carry out a command; then it may be gone
FOLLOWED_SECONDS = 600.0  # for which later answers, such as /done of a load, find their way
MAX_UNSENT = 1 << 20  # bytes: control does not read
MAX_FOLLOWED = 4096
SEEN_SECONDS = 20.0  # for which control goes on showing after somebody has asked for the picture

Answer = list[Any]
"""An OSC message: address, then arguments."""

Hear = Callable[[str, Any], None]
"""`hear(kind, what)`: kind is "picture", "event", "changed", "about" or "table"."""


class Busy(RuntimeError):
    """Control does not answer: it is restarted, or has too much to do."""


@dataclass(eq=False)
class _Asked:
    """A batch that control is carrying out. `later` gets the answers that come afterwards."""

    done: asyncio.Future[None]
    until: float
    answers: list[Answer] = field(default_factory=list)
    later: Callable[[Answer], None] | None = None


class ControlClient:
    """Control, seen from the web process. For its one thread.

    `picture`: what control shows, key by key; complete only while `watch(True)`. `about`: the
    server in general. `table`: the commands.
    """

    def __init__(self, hear: Hear, fd_in: int = 0, fd_out: int = 1) -> None:
        self._hear = hear
        self._in, self._out = fd_in, fd_out
        self.picture: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.table: list[dict[str, Any]] = []
        self.version = 0
        """Another one whenever the picture or the table may be another."""
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._rest = b""
        self._unsent = bytearray()
        self._watching = False
        self._watchers: set[str] = set()
        self._whole = asyncio.Event()  # the picture is complete
        self._seen_timer: asyncio.TimerHandle | None = None
        self._ready: dict[str, Any] = {}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when control wants this process to end."""
        os.set_blocking(fd_in, False)
        os.set_blocking(fd_out, False)
        asyncio.get_running_loop().add_reader(fd_in, self._read)

    # Saying --------------------------------------------------------------------------------

    def say(self, message: dict[str, Any]) -> None:
        """Queue one message; never blocks."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self._push()

    def ready(self, message: dict[str, Any]) -> None:
        """Say that pages are served; again to each new control."""
        self._ready = message
        self.say(message)

    def watch(self, on: bool, who: str = "pages") -> None:
        """Have control keep `picture` up to date, or no longer, as far as `who` is concerned."""
        if on:
            self._watchers.add(who)
        else:
            self._watchers.discard(who)
        if bool(self._watchers) != self._watching:
            self._watching = bool(self._watchers)
            self._whole.clear()
            self.version += 1
            self.picture.clear()  # what nobody keeps up to date is soon wrong
            self.say({"watching": self._watching})

    async def seen(self) -> dict[str, Any]:
        """The whole picture, also while no page is open. Raises `Busy`."""
        loop = asyncio.get_running_loop()
        if self._seen_timer:
            self._seen_timer.cancel()
        self._seen_timer = loop.call_later(SEEN_SECONDS, self.watch, False, "seen")
        self.watch(True, "seen")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._whole.wait()
        except TimeoutError:
            raise Busy("the server does not answer just now") from None
        return self.picture

    def _push(self) -> None:
        while self._unsent:
            try:
                done = os.write(self._out, self._unsent[:65536])
            except BlockingIOError:
                break
            except OSError:  # a control has died; the next one has the same pipe
                self._unsent.clear()
                break
            del self._unsent[:done]
        loop = asyncio.get_running_loop()
        if self._unsent:
            loop.add_writer(self._out, self._push)
        else:
            loop.remove_writer(self._out)

    async def do(self, address: str, *arguments: Any) -> list[Answer]:
        """Have one command carried out; its answers, /fail among them. Raises `Busy`."""
        return await self.do_all([[address, *arguments]])

    async def do_all(
        self, batch: Sequence[Answer], later: Callable[[Answer], None] | None = None
    ) -> list[Answer]:
        """Have commands carried out that belong together; they act on one frame.

        Returns the answers that came by the time they were carried out; `later` gets those that
        come afterwards, as a load's /done does. Raises `Busy`.
        """
        loop = asyncio.get_running_loop()
        if len(self._unsent) > MAX_UNSENT or len(self._asked) >= MAX_FOLLOWED:
            self._forget_old(loop.time())
            if len(self._unsent) > MAX_UNSENT or len(self._asked) >= MAX_FOLLOWED:
                raise Busy("the server does not keep up: send less")
        number = next(self._numbers)
        asked = _Asked(loop.create_future(), loop.time() + FOLLOWED_SECONDS, later=later)
        self._asked[number] = asked
        self.say({"do": [number, *batch]})
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asked.done
        except TimeoutError:
            self._asked.pop(number, None)
            raise Busy("the server does not answer just now") from None
        return asked.answers

    def _forget_old(self, now: float) -> None:
        for number, asked in list(self._asked.items()):
            if now > asked.until:
                del self._asked[number]

    # Hearing -------------------------------------------------------------------------------

    def _read(self) -> None:
        chunks = [self._rest]
        while True:
            try:
                data = os.read(self._in, 1 << 18)
            except BlockingIOError:
                break
            if not data:
                asyncio.get_running_loop().remove_reader(self._in)
                if not self.ended.done():
                    self.ended.set_result(None)
                break
            chunks.append(data)
        *lines, self._rest = b"".join(chunks).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:  # a control that died in the middle of a line
                continue
            if isinstance(message, dict):
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        for kind, what in message.items():
            if kind == "answer":
                self._answer(what)
            elif kind == "end":
                asked = self._asked.get(what)
                if asked and not asked.done.done():
                    asked.done.set_result(None)
                    if asked.later is None:
                        del self._asked[what]
            else:
                self._learn(kind, what)

    def _answer(self, what: list[Any]) -> None:
        number, *answer = what
        asked = self._asked.get(number)
        if asked is None:
            return
        if not asked.done.done():
            asked.answers.append(answer)
        elif asked.later is not None:
            asked.later(answer)
            if answer[0] in ("/done", "/fail"):
                del self._asked[number]

    def _learn(self, kind: str, what: Any) -> None:
        if kind in ("picture", "table"):
            self.version += 1
        if kind == "picture":
            for key, value in what.items():
                if value is None:
                    self.picture.pop(key, None)
                else:
                    self.picture[key] = value
            if self._watching:
                self._whole.set()
        elif kind == "table":
            # A control begins, this one or another: it knows nothing of what was said before.
            self.table = what
            self._whole.clear()
            if self._ready:
                self.say(self._ready)
            if self._watching:
                self.say({"watching": True})
        elif kind == "about":
            self.about = what
        self._hear(kind, what)
