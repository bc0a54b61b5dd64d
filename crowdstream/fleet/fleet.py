"""All servers of a fleet, polled side by side, with one log."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple, Self

from crowdstream.fleet.members import MAX_MEMBERS, Member, check_members, select
from crowdstream.fleet.watched import BAD, POLL_SECONDS, WARN, Watched

LOG_LINES = 200
CONTACT_SECONDS = 5.0


class Entry(NamedTuple):
    """A line of the log. `at`: Unix seconds."""

    at: float
    grade: str
    server: str
    text: str


class Fleet:
    """The servers, for an `async with` block: each is polled while it runs."""

    def __init__(self, members: Sequence[Member], every: float = POLL_SECONDS) -> None:
        """`every`: seconds between two polls. Raises `FleetError` for duplicates."""
        check_members(members)
        self.log: deque[Entry] = deque(maxlen=LOG_LINES)
        self.faults: Counter[str] = Counter()
        """Reported faults by server."""
        self.servers = [Watched(member, self.report) for member in members]
        self._every = every
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(one.run(self._every)) for one in self.servers]
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self.servers:
            one.close()

    def report(self, grade: str, server: str, text: str) -> None:
        """Add a line to the log; count it if it is a fault."""
        self.log.append(Entry(time.time(), grade, server, text))
        if grade in (WARN, BAD):
            self.faults[server] += 1

    def add(self, member: Member) -> bool:
        """Add a server that was found; False if it is known already, or there are too many."""
        known = [one.member for one in self.servers]
        if len(known) >= MAX_MEMBERS or any(
            one.place == member.place or one.name == member.name for one in known
        ):
            return False
        one = Watched(member, self.report)
        self.servers.append(one)
        self._tasks.append(asyncio.create_task(one.run(self._every)))
        return True

    def select(self, words: Sequence[str]) -> list[Watched]:
        """Return the servers with these names or groups. Raises `FleetError`."""
        chosen = set(select([one.member for one in self.servers], words))
        return [one for one in self.servers if one.member in chosen]

    async def contact(self, seconds: float = CONTACT_SECONDS) -> None:
        """Wait until each server has been polled, at most `seconds`."""
        waits = [asyncio.create_task(one.polled.wait()) for one in self.servers]
        if waits:
            await asyncio.wait(waits, timeout=seconds)
        for wait in waits:
            wait.cancel()
