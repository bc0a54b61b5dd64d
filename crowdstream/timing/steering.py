"""The output's rate from the outside: where the device is in the mix, and the wanted rate."""

from __future__ import annotations

from typing import NamedTuple

from crowdstream.desk.atomics import fence, load_acquire
from crowdstream.desk.block import Desk
from crowdstream.desk.dtypes import CLOCK
from crowdstream.desk.layout import REGIONS

_FIELDS = CLOCK.fields
assert _FIELDS is not None
_STAMP = REGIONS["clock"].offset + _FIELDS["stamp"][1]
ATTEMPTS = 8


class OutputMark(NamedTuple):
    """The latest request of the device: at `ns` (monotonic) it had received `out` frames.

    It was at the (fractional) frame `place` of the mix. Each further frame of the device advances
    by 1 + `rate` frames.
    """

    ns: int
    out: int
    place: float
    rate: float


def read_output_mark(desk: Desk) -> OutputMark | None:
    """Return the latest mark; None before the first block, or if an engine died while writing."""
    steering, clock = desk.steering, desk.clock
    for _attempt in range(ATTEMPTS):
        before = load_acquire(desk.address + _STAMP)
        mark = OutputMark(
            int(clock["callback_ns"]), int(steering["mark_out"]), float(steering["mark_place"]),
            float(steering["rate"]),
        )
        fence()
        if before % 2 == 0 and load_acquire(desk.address + _STAMP) == before:
            return mark if mark.ns > 0 else None
    return None


def steer(desk: Desk, wanted: float) -> None:
    """Resample the output at 1 + `wanted` frames of the mix per frame of the device."""
    desk.steering["wanted"] = wanted
    desk.steering["on"] = 1


def release_steering(desk: Desk) -> None:
    """Play the mix at the rate of the device again, bit for bit."""
    desk.steering["on"] = 0
    desk.steering["wanted"] = 0.0


def output_latency(desk: Desk) -> float:
    """Return the seconds from the request for a block to its sound, limiter included."""
    return float(desk.clock["latency"]) + int(desk.limiter["delay"]) / desk.sample_rate
