"""Measure how far the clock of a server differs from this machine's, over the network.

Each exchange gives an interval: the server's time lies between request and reply. The difference is
in the intersection of all of them (Marzullo's algorithm, as in NTP, without outliers: a clock that
is set in between leaves no intersection).
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from crowdstream.client import AsyncClient, NoReply
from crowdstream.osc.codec import UNIX_EPOCH

EXCHANGES = 8
PAUSE_SECONDS = 0.01  # between two, so that one delay of the network does not affect all
EXCHANGE_SECONDS = 2.0
# The instants that an OSC time tag can express: from 1900 to February 2036.
EARLIEST, LATEST = -float(UNIX_EPOCH), 2.0**32 - UNIX_EPOCH
TAG_MARGIN_SECONDS = 3600.0


class ClockUnusable(Exception):
    """No start can be scheduled by this clock; the message gives the reason."""


class Offset(NamedTuple):
    """A server's Unix time minus this machine's monotonic time, in seconds.

    `error`: the offset is at most this far off. The monotonic clock is used because this machine's
    time of day may be set meanwhile.
    """

    seconds: float
    error: float

    def server_time(self, monotonic: float) -> float:
        """Return the server's Unix time at an instant of this machine's monotonic clock."""
        return monotonic + self.seconds

    def difference(self, wall: float, monotonic: float) -> float:
        """Return by how many seconds the server's clock is ahead of this machine's."""
        return self.seconds - (wall - monotonic)


def intersect(intervals: list[tuple[float, float]]) -> Offset:
    """Return the middle of the intersection of intervals and half its length.

    Raises `ClockUnusable` if there is none: the server's clock was set during the measurement.
    """
    low, high = max(low for low, _ in intervals), min(high for _, high in intervals)
    if low > high:
        raise ClockUnusable("its clock was set while it was measured")
    return Offset((low + high) / 2.0, (high - low) / 2.0)


async def measure(
    client: AsyncClient,
    exchanges: int = EXCHANGES,
    monotonic: Callable[[], float] = time.monotonic,
) -> Offset:
    """Measure a server's clock.

    Raises `ClockUnusable` for a clock that no time tag can follow, and `ClientError` if the server
    does not answer, or is too old to know `/clock/time`.
    """
    intervals: list[tuple[float, float]] = []
    for number in range(exchanges):
        if number:
            await asyncio.sleep(PAUSE_SECONDS)
        sent = monotonic()
        # The number cannot be guessed by a program that forges a reply.
        try:
            reply = await client.call("/clock/time", secrets.randbits(31), timeout=EXCHANGE_SECONDS)
        except NoReply:
            if not intervals:
                raise
            continue  # lost repeatedly; the other exchanges suffice
        received = monotonic()
        moment = reply[1] if len(reply) > 1 else None
        if not isinstance(moment, float | int) or not math.isfinite(moment):
            raise ClockUnusable("its time is not a number")
        if not EARLIEST + TAG_MARGIN_SECONDS < moment < LATEST - TAG_MARGIN_SECONDS:
            raise ClockUnusable("its clock is outside of the years that OSC can express, 1900-2036")
        intervals.append((moment - received, moment - sent))
    return intersect(intervals)

