"""Upgrade the servers of a fleet in stages, and stop when the health of an upgraded one falls."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from crowdstream.fleet.commands import Outcome
from crowdstream.fleet.members import FleetError, Member
from crowdstream.fleet.programs import Result, run_program
from crowdstream.fleet.watched import (
    MAX_UNDERRUNS,
    Watched,
    describe_underruns,
    gaps_since,
)
from crowdstream.system.network_address import is_loopback
from crowdstream.system.text import printable

STAGES = "1,25%,100%"
OBSERVED_SECONDS = 60.0  # after each stage
LOOK_SECONDS = 0.5
AWAY_SECONDS = 10.0  # without an answer, after which an upgraded server has failed
MAX_STAGES = 20
USUAL_FACTOR = 3.0  # by which underruns caused by the machine may exceed those before the upgrade

Run = Callable[[Sequence[str]], Awaitable[Result]]
Say = Callable[[str], None]


def parse_stages(text: str, count: int) -> list[int]:
    """Return how many servers are upgraded after each stage, for `1,25%,100%` of `count`.

    Raises `FleetError`. Stages that add no server are left out; the last one has all servers.
    """
    found: list[int] = []
    words = text.split(",")
    if len(words) > MAX_STAGES:
        raise FleetError(f"--stages: there are up to {MAX_STAGES}")
    for word in words:
        digits = word.strip().removesuffix("%")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 4 or not int(digits):
            raise FleetError(
                f"--stages: {printable(word)!r} is neither a number of servers nor a percentage, "
                f"as in {STAGES}"
            )
        number = int(digits)
        if word.strip().endswith("%"):
            if number > 100:
                raise FleetError(f"--stages: {number} % is more than all servers")
            number = math.ceil(count * number / 100)
        found.append(min(number, count))
    if found != sorted(found):
        raise FleetError("--stages: each stage must have more servers than the one before it")
    return list(dict.fromkeys([*found, count])) if count else []


def command_of(member: Member, path: str) -> list[str]:
    """Return the command that upgrades a server, empty if none is configured.

    A server of this machine needs none: `crowdstream upgrade` reaches it.
    """
    if member.upgrade:
        return member.filled(member.upgrade, path=path, source=path, target=path)
    if is_loopback(member.host):
        own = [sys.executable, "-m", "crowdstream", "upgrade"]
        return [*own, "--port", str(member.port), "--", path]
    return []


def check_upgrade(servers: Sequence[Watched], path: str) -> None:
    """Raise `FleetError` if a server cannot be upgraded, or is not healthy before."""
    if not servers:
        raise FleetError("there is no server to upgrade")
    if path.startswith("-"):
        raise FleetError(f"{printable(path)}: must be a path")
    reasons = []
    for server in servers:
        if not command_of(server.member, path):
            reasons.append(
                f"{server.member.name}: not offered, because the fleet's file has no upgrade "
                "command for this server"
            )
        reasons += [f"{server.member.name}: {why}" for why in server.broken()[:1]]
    if reasons:
        raise FleetError(f"nothing was upgraded: {'; '.join(reasons)}")


class Observed:
    """The health of one server since its upgrade."""

    def __init__(self, server: Watched) -> None:
        self.server = server
        self._before = dict(server.status)
        self._usual = server.usual_machine_underruns()
        self._begin = self._answered_at = time.monotonic()

    def upgraded(self) -> None:
        """Count from now on how long it does not answer: the upgrade may have restarted it."""
        self._answered_at = time.monotonic()

    def fault(self) -> str:
        """Return what has become worse, or an empty text."""
        now, server = time.monotonic(), self.server
        if server.answers:
            self._answered_at = now
            if server.number("frame") < float(self._before.get("frame", 0)):
                self._before = dict(server.status)  # restarted: it counts from 0 again
            if risen := gaps_since(self._before, server.status):
                return risen
            underruns = server.recent_underruns(self._begin)
            if underruns.all - underruns.machine > MAX_UNDERRUNS:
                return describe_underruns(underruns.all)
            if underruns.machine > max(MAX_UNDERRUNS, USUAL_FACTOR * self._usual):
                return (
                    f"{describe_underruns(underruns.all)}, and {self._usual:.1f} in a minute before"
                )
            return next(iter(server.broken()), "")
        if now - self._answered_at > AWAY_SECONDS:
            return f"does not answer: {server.trouble}"
        return ""


async def upgrade(
    servers: Sequence[Watched],
    path: str,
    stages: Sequence[int],
    observed_seconds: float = OBSERVED_SECONDS,
    say: Say = lambda _text: None,
    run: Run = run_program,
) -> list[Outcome]:
    """Upgrade the servers, which must be polled meanwhile, in their order.

    `stages`: see `parse_stages`. The servers of a stage are upgraded side by side; then all
    upgraded ones are observed. The first fault ends the rollout: what follows stays as it is. A
    server whose own trial fails returns to its previous version by itself.
    """
    outcomes: dict[str, Outcome] = {}
    watched: list[Observed] = []
    fault, begin = "", 0
    for number, end in enumerate(stages, 1):
        group = servers[begin:end]
        names = ", ".join(one.member.name for one in group)
        say(f"stage {number} of {len(stages)}: {names}")
        for server in group:  # it may have changed since the rollout began
            for why in server.broken()[:1]:
                fault = fault or f"{server.member.name}: {why}"
        if fault:
            break
        before = [Observed(server) for server in group]
        results = await asyncio.gather(*(run(command_of(one.member, path)) for one in group))
        watched += before
        begin = end
        for one in before:
            one.upgraded()
        for server, result in zip(group, results, strict=True):
            name = server.member.name
            good = result.status == 0
            text = result.text or ("upgraded" if good else "the command failed")
            if not good:
                text = f"failed ({result.status}): {text}"
                fault = fault or f"{name}: {text}"
            outcomes[name] = Outcome(name, good, text)
            say(f"{name}: {text}")
        until = time.monotonic() + observed_seconds
        while not fault and time.monotonic() < until:
            await asyncio.sleep(min(LOOK_SECONDS, observed_seconds))
            # Their own polls have become less frequent than `AWAY_SECONDS`.
            await asyncio.gather(*(one.server.poll() for one in watched if not one.server.answers))
            for one in watched:
                if why_not := one.fault():
                    name = one.server.member.name
                    fault = f"{name}: {why_not}"
                    outcomes[name] = Outcome(name, False, why_not)
                    break
        if fault:
            break
    if fault:
        say(f"stopped: {fault}")
    left = f"not upgraded, because of {fault}"
    return [
        outcomes.get(one.member.name, Outcome(one.member.name, False, left)) for one in servers
    ]
