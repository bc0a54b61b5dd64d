"""Send a command to several servers: immediately, or so that it acts everywhere at one moment.

The moment is an instant of this machine's monotonic clock. Each server receives it as a time tag of
its own clock, whose difference was measured just before. Outputs with a longer latency start
earlier, so that the sound is simultaneous.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from crowdstream.client import AsyncClient, ClientError, NoReply, ServerUnavailable
from crowdstream.client.command_index import find
from crowdstream.client.results import parse_status, parse_waiting
from crowdstream.fleet.clock_offset import ClockUnusable, Offset, measure
from crowdstream.fleet.members import FleetError
from crowdstream.fleet.watched import REPLY_SECONDS, Watched, describe_difference, plain

LEAD_SECONDS = 2.0
MIN_LEAD_SECONDS, MAX_LEAD_SECONDS = 0.5, 3600.0
MAX_ERROR_MS = 10.0  # of the difference of clocks; a local network reaches less than 1
REPEAT_SECONDS = 0.3  # without a reply, after which a command is looked for, and sent again
# Only then: the server lists messages that wait, until half a second before their time.
REPEAT_LEAD_SECONDS = 0.7
SAME_START_SECONDS = 0.1
AFTER_SECONDS = 0.3  # behind the start, for the reports of late commands
MAX_SENT_DELAY_SECONDS = 10.0  # that a measured latency can shift a start


class Outcome(NamedTuple):
    """What became of an operation on one server."""

    server: str
    ok: bool
    text: str
    values: tuple[Any, ...] = ()


class Stamp(NamedTuple):
    """A server's clock and the delay of its output (s) at the time of a start."""

    offset: Offset
    delay: float


def typed(address: str, words: Sequence[str]) -> tuple[Any, ...]:
    """Convert the words of a command line to OSC arguments, as the command expects them."""
    info = find(address)
    kinds = [arg.type for arg in info.args] if info is not None else []
    if info is not None and info.args and info.args[-1].rest:
        kinds += [kinds[-1]] * len(words)
    return tuple(
        word if kind == "s" else _number(word)
        for word, kind in zip(words, [*kinds, *["*"] * len(words)], strict=False)
    )


def _number(word: str) -> Any:
    for convert in (int, float):
        try:
            return convert(word)
        except ValueError:
            continue
    return word


async def on_each(
    servers: Sequence[Watched], do: Callable[[Watched, AsyncClient], Awaitable[tuple[Any, ...]]]
) -> list[Outcome]:
    """Run `do` for all servers at once and return its values, or its error."""

    async def one(server: Watched) -> Outcome:
        try:
            async with server.client() as client:
                values = tuple(await do(server, client))
        except (ClientError, ClockUnusable, OSError, ValueError) as error:
            return Outcome(server.member.name, False, plain(error) or type(error).__name__)
        text = " ".join(map(plain, values)) or "done"
        return Outcome(server.member.name, True, text, values)

    return list(await asyncio.gather(*map(one, servers)))


async def send_now(
    servers: Sequence[Watched], address: str, arguments: Sequence[Any]
) -> list[Outcome]:
    """Carry out a command on each server immediately."""

    async def do(_server: Watched, client: AsyncClient) -> tuple[Any, ...]:
        return await client.call(address, *arguments)

    return await on_each(servers, do)


async def stamps(servers: Sequence[Watched], max_error_ms: float) -> list[Stamp]:
    """Measure clock and latency of each server.

    Raises `FleetError` with all reasons if one of them cannot take part.
    """

    async def do(_server: Watched, client: AsyncClient) -> tuple[Any, ...]:
        status = parse_status(await client.call("/status", timeout=REPLY_SECONDS))
        return status, await measure(client)

    reasons, found = [], []
    for server, outcome in zip(servers, await on_each(servers, do), strict=True):
        if not outcome.ok:
            reasons.append(f"{outcome.server}: {outcome.text}")
            continue
        status, server.offset = outcome.values
        server.take_status(status)
        stamp = Stamp(outcome.values[1], server.output_delay())
        if stamp.offset.error * 1000.0 > max_error_ms:
            reasons.append(
                f"{outcome.server}: its clock is known to {stamp.offset.error * 1000.0:.1f} ms "
                f"only (--max-error-ms {max_error_ms:g})"
            )
        elif not 0.0 <= stamp.delay <= MAX_SENT_DELAY_SECONDS:
            reasons.append(f"{outcome.server}: it reports a latency of {stamp.delay:.1f} s")
        found.append(stamp)
    if reasons:
        raise FleetError(f"nothing was sent: {'; '.join(reasons)}")
    return found


async def _schedule(
    client: AsyncClient, address: str, arguments: Sequence[Any], at: float, moment: float
) -> None:
    """Send a command for the server's time `at`, which is `moment` on the monotonic clock here.

    If there is no reply, the command or the reply was lost. The list of waiting messages shows
    which; a lost command is sent again while there is time. Raises `ClientError`.
    """
    while True:
        try:
            await client.call(address, *arguments, at=at, timeout=REPEAT_SECONDS)
            return
        except ServerUnavailable:
            raise
        except NoReply:
            if moment - time.monotonic() < REPEAT_LEAD_SECONDS:
                raise
        waiting = await client.call("/waiting", timeout=REPLY_SECONDS)
        left = moment - time.monotonic()
        if any(
            one.address == address and abs(one.seconds - left) < SAME_START_SECONDS
            for one in parse_waiting(waiting)
        ):
            return
        if left < REPEAT_LEAD_SECONDS:
            raise NoReply(f"{address}: lost, and the moment is too near to send it again")


async def send_together(
    servers: Sequence[Watched],
    address: str,
    arguments: Sequence[Any],
    lead: float = LEAD_SECONDS,
    max_error_ms: float = MAX_ERROR_MS,
) -> list[Outcome]:
    """Carry out a command on all servers at the same moment, `lead` seconds after the measurement.

    The outcomes contain when each server acts by its own clock, and the error of that. Raises
    `FleetError`, and sends nothing, if a server cannot take part.
    """
    info = find(address)
    if info is not None and not info.scheduled:
        raise FleetError(f"{plain(address)} cannot be scheduled; send it without a time")
    if not MIN_LEAD_SECONDS <= lead <= MAX_LEAD_SECONDS:
        raise FleetError(
            f"the start must be {MIN_LEAD_SECONDS:g} to {MAX_LEAD_SECONDS:g} s ahead, not {lead:g}"
        )
    known = dict(zip([one.member.name for one in servers],
                     await stamps(servers, max_error_ms), strict=True))  # fmt: skip
    moment = time.monotonic() + lead
    longest = max((stamp.delay for stamp in known.values()), default=0.0)

    async def do(server: Watched, client: AsyncClient) -> tuple[Any, ...]:
        offset, delay = known[server.member.name]
        at = offset.server_time(moment) + longest - delay
        await _schedule(client, address, arguments, at, moment + longest - delay)
        return at, offset.error

    sent = await on_each(servers, do)
    await asyncio.sleep(max(0.0, moment + longest + AFTER_SECONDS - time.monotonic()))

    async def check(_server: Watched, client: AsyncClient) -> tuple[Any, ...]:
        await client.check()
        return ()

    checked = await on_each(servers, check)
    found = []
    for server, one, after in zip(servers, sent, checked, strict=True):
        if one.ok and after.ok:
            error = one.values[1] * 1000.0
            ahead = describe_difference(server.clock_difference())
            text = f"acted within {error:.2f} ms of the common moment; its clock is {ahead}"
            found.append(one._replace(text=text))
        else:
            found.append(after if one.ok else one)
    return found
