"""The connection to the control process: state and replies in, commands out.

The protocol is JSON lines over two pipes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

ANSWER_SECONDS = 5.0  # for control to carry out a command; after that it may have died
FOLLOWED_SECONDS = 600.0  # for which late replies, such as the /done of a load, are forwarded
MAX_UNSENT = 1 << 20  # bytes queued while control does not read
MAX_FOLLOWED = 4096  # batches that are being carried out, or may have late replies
HEARTBEAT_SECONDS = 5.0  # between two heartbeats; see `control.processes.web_process`
STATE_SECONDS = 20.0  # for which control keeps sending its state after an HTTP request for it

Answer = list[Any]
"""An OSC message: the address, then the arguments."""

OnMessage = Callable[[str, Any], None]
"""`on_message(kind, value)`: kind is "picture", "event", "changed", "about" or "table"."""


class Busy(RuntimeError):
    """Control does not reply: it is restarting or overloaded."""


@dataclass(eq=False)
class _PendingBatch:
    """A batch that control is carrying out. `later` receives replies that follow its end."""

    done: asyncio.Future[None]
    until: float
    answers: list[Answer] = field(default_factory=list)
    later: Callable[[Answer], None] | None = None


class ControlClient:
    """The web process's end of the connection to control. For one event loop.

    `picture`: control's published state by key; complete only after `watch(True)`. `about`:
    general facts about the server. `table`: the commands.
    """

    def __init__(self, on_message: OnMessage, fd_in: int = 0, fd_out: int = 1) -> None:
        self._on_message = on_message
        self._in, self._out = fd_in, fd_out
        self.picture: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.table: list[dict[str, Any]] = []
        self.version = 0
        """Changes whenever `picture` or `table` may have changed."""
        self._numbers = itertools.count(1)
        self._pending: dict[int, _PendingBatch] = {}
        self._rest = b""
        self._unsent = bytearray()
        self._watching = False
        self._watchers: set[str] = set()
        self._complete = asyncio.Event()  # `picture` is complete
        self._state_timer: asyncio.TimerHandle | None = None
        self._ready: dict[str, Any] = {}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Resolved when control closes its end of the pipe: this process should exit."""
        os.set_blocking(fd_in, False)
        os.set_blocking(fd_out, False)
        asyncio.get_running_loop().add_reader(fd_in, self._read)

    # Sending -------------------------------------------------------------------------------

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message; never blocks."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self._push()

    def ready(self, message: dict[str, Any]) -> None:
        """Report that pages are being served; repeated to each new control process."""
        self._ready = message
        self.send(message)

    async def send_heartbeats(self) -> None:
        """Show control that this event loop runs, until cancelled."""
        while True:
            self.send({"alive": True})
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def watch(self, on: bool, watcher: str = "pages") -> None:
        """Subscribe `watcher` to updates of `picture`, or unsubscribe it.

        Control sends updates as long as there is at least one watcher.
        """
        if on:
            self._watchers.add(watcher)
        else:
            self._watchers.discard(watcher)
        if bool(self._watchers) != self._watching:
            self._watching = bool(self._watchers)
            self._complete.clear()
            self.version += 1
            self.picture.clear()  # without updates it would soon be wrong
            self.send({"watching": self._watching})

    async def complete_picture(self) -> dict[str, Any]:
        """The complete picture, even while no page is open. Raises `Busy`."""
        loop = asyncio.get_running_loop()
        if self._state_timer:
            self._state_timer.cancel()
        self._state_timer = loop.call_later(STATE_SECONDS, self.watch, False, "http")
        self.watch(True, "http")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._complete.wait()
        except TimeoutError:
            raise Busy("the server is not responding; try again in a moment") from None
        return self.picture

    def _push(self) -> None:
        while self._unsent:
            try:
                done = os.write(self._out, self._unsent[:65536])
            except BlockingIOError:
                break
            except OSError:  # control has died; its successor inherits the same pipe
                self._unsent.clear()
                break
            del self._unsent[:done]
        loop = asyncio.get_running_loop()
        if self._unsent:
            loop.add_writer(self._out, self._push)
        else:
            loop.remove_writer(self._out)

    async def do(self, address: str, *arguments: Any) -> list[Answer]:
        """Run one command and return its replies, including /fail. Raises `Busy`."""
        return await self.do_all([[address, *arguments]])

    async def do_all(
        self, batch: Sequence[Answer], later: Callable[[Answer], None] | None = None
    ) -> list[Answer]:
        """Run a batch of commands that take effect on the same frame.

        Returns the replies received until the batch was carried out. `later` receives the replies
        that follow, such as the /done of a load. Raises `Busy`.
        """
        loop = asyncio.get_running_loop()
        if len(self._unsent) > MAX_UNSENT or len(self._pending) >= MAX_FOLLOWED:
            self._forget_old(loop.time())
            if len(self._unsent) > MAX_UNSENT or len(self._pending) >= MAX_FOLLOWED:
                raise Busy("the server cannot keep up: send fewer commands")
        number = next(self._numbers)
        pending = _PendingBatch(loop.create_future(), loop.time() + FOLLOWED_SECONDS, later=later)
        self._pending[number] = pending
        self.send({"do": [number, *batch]})
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await pending.done
        except TimeoutError:
            self._pending.pop(number, None)
            raise Busy("the server is not responding; try again in a moment") from None
        return pending.answers

    def _forget_old(self, now: float) -> None:
        # Few of the batches that were carried out have late replies, but which is not known: a page
        # whose faders move sends thousands within `FOLLOWED_SECONDS`.
        surplus = len(self._pending) - MAX_FOLLOWED // 2
        for number, pending in list(self._pending.items()):
            if now > pending.until or (surplus > 0 and pending.done.done()):
                del self._pending[number]
                surplus -= 1

    # Receiving -----------------------------------------------------------------------------

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
            except ValueError:  # a line that control did not finish before it died
                continue
            if isinstance(message, dict):
                self._handle(message)

    def _handle(self, message: dict[str, Any]) -> None:
        for kind, value in message.items():
            if kind == "answer":
                self._answer(value)
            elif kind == "end":
                pending = self._pending.get(value)
                if pending and not pending.done.done():
                    pending.done.set_result(None)
                    if pending.later is None:
                        del self._pending[value]
            else:
                self._update(kind, value)

    def _answer(self, value: list[Any]) -> None:
        number, *answer = value
        pending = self._pending.get(number)
        if pending is None:
            return
        if not pending.done.done():
            pending.answers.append(answer)
        elif pending.later is not None:
            pending.later(answer)
            if answer[0] in ("/done", "/fail"):
                del self._pending[number]

    def _update(self, kind: str, content: Any) -> None:
        if kind in ("picture", "table"):
            self.version += 1
        if kind == "picture":
            for key, value in content.items():
                if value is None:
                    self.picture.pop(key, None)
                else:
                    self.picture[key] = value
            if self._watching:
                self._complete.set()
        elif kind == "table":
            # A control process has just started, and it knows nothing of earlier messages.
            self.table = content
            self._complete.clear()
            if self._ready:
                self.send(self._ready)
            if self._watching:
                self.send({"watching": True})
        elif kind == "about":
            self.about = content
        self._on_message(kind, content)
