"""The ledger: how long each block took, and the cause of each gap."""

from __future__ import annotations

from numba import types

from crowdstream.desk.constants import GAPS, HISTOGRAM
from crowdstream.desk.dtypes import CLOCK
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import (
    CAUSE_CALLBACK,
    CAUSE_DEVICE,
    CAUSE_ENGINE,
    CAUSE_LOST,
    CAUSE_RENDER,
    CAUSE_RESIZED,
    FLAG_NONE,
    FLAG_RESIZED,
    FLAG_TAKEN,
    FLAG_UNDERFLOW,
)
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import fence, store_release
from crowdstream.engine.jit.compile import entry, kernel
from crowdstream.engine.schedule.load_shedding import follow_load, ignore_first_blocks

_FIELDS = CLOCK.fields
assert _FIELDS is not None
_STAMP = REGIONS["clock"].offset + _FIELDS["stamp"][1]

# A callback interval this many thousandths of the period explains a gap.
LATE_THOUSANDTHS = 1500
STANDSTILL_NS = 500_000_000  # longer than the longest block lasts


@kernel
def histogram_bin(nanoseconds):
    """Return the quarter-octave bin of a duration, starting at 1 us.

    Bin 4 k + j begins at 1024 * 2^k * (1 + j / 4) ns.
    """
    octave = 0
    scaled = nanoseconds
    while scaled >= 2048 and octave < 15:
        scaled >>= 1
        octave += 1
    quarter = max(0, min(3, (scaled - 1024) // 256))
    return min(4 * octave + quarter, HISTOGRAM - 1)


@kernel
def record_gap(address, cause, excess_ns, now_ns):
    """Record a gap with its cause, and by how many nanoseconds the deadline was missed."""
    ledger = views.ledger(address)[0]
    ledger.gaps[cause] += 1
    gap = views.gaps(address)[ledger.gap_count % GAPS]
    gap.frame = views.clock(address)[0].frame
    gap.cause = cause
    gap.excess_ns = excess_ns
    gap.time_ns = now_ns
    ledger.gap_count += 1


@entry(types.void(types.int64, types.int64, types.int64, types.int64))
def begin_block(address, frames, now_ns, flagged):
    """Record that the device requests `frames` frames; `flagged` is one of `FLAG_...`.

    `now_ns`: time of the request on the monotonic clock.
    """
    clock = views.clock(address)[0]
    ledger = views.ledger(address)[0]
    if ledger.reset_seen != ledger.reset_serial:
        ledger.reset_seen = ledger.reset_serial
        ledger.render_max_ns = 0
        ledger.interval_max_ns = 0
        for i in range(HISTOGRAM):
            ledger.render_hist[i] = 0
            ledger.interval_hist[i] = 0
    period_ns = int(frames * 1e9 / views.header(address)[0].sample_rate)
    interval = now_ns - clock.callback_ns if clock.callback_ns > 0 else period_ns
    if flagged < FLAG_TAKEN:
        ledger.interval_hist[histogram_bin(interval)] += 1
        ledger.interval_max_ns = max(ledger.interval_max_ns, interval)
    if flagged >= FLAG_TAKEN or clock.callback_ns == 0:
        ignore_first_blocks(address)
    # The flag may arrive with the late block or with the one after it.
    lately = interval
    if clock.previous_ns > 0:
        lately = max(interval, clock.callback_ns - clock.previous_ns)
    if flagged == FLAG_RESIZED:
        silence = views.lease(address)[0].silence_ns
        if silence > 0:
            record_gap(address, CAUSE_RESIZED, silence, now_ns)
    elif flagged >= FLAG_TAKEN:
        lease = views.lease(address)[0]
        lease.takeovers += 1
        lease.gap_ns = max(0, interval - period_ns)
        cause = CAUSE_ENGINE if flagged == FLAG_TAKEN else CAUSE_LOST
        record_gap(address, cause, lease.gap_ns, now_ns)
    elif interval > STANDSTILL_NS and flagged == FLAG_NONE:
        # Regardless of the device's flag: no block was requested for longer than the device can
        # buffer.
        ledger.device_flags += 1
        record_gap(address, CAUSE_DEVICE, interval - period_ns, now_ns)
    elif flagged == FLAG_UNDERFLOW:
        ledger.device_flags += 1
        if ledger.render_ns > period_ns:
            record_gap(address, CAUSE_RENDER, ledger.render_ns - period_ns, now_ns)
        elif lately * 1000 > period_ns * LATE_THOUSANDTHS:
            record_gap(address, CAUSE_CALLBACK, lately - period_ns, now_ns)
        else:
            record_gap(address, CAUSE_DEVICE, 0, now_ns)
    stamp = clock.stamp
    store_release(address + _STAMP, stamp + 1)
    fence()  # the stores below must not become visible before the odd stamp
    clock.previous_ns = clock.callback_ns
    clock.callback_ns = now_ns
    clock.callback_frame = clock.frame
    steering = views.steering(address)[0]
    steering.mark_out = steering.out
    steering.mark_place = float(clock.frame)
    if steering.engaged:
        steering.mark_place = steering.place + steering.fraction
    store_release(address + _STAMP, stamp + 2)


@entry(types.void(types.int64, types.int64, types.int64))
def end_block(address, frames, render_ns):
    """Record that a block of `frames` frames took `render_ns` nanoseconds to render."""
    ledger = views.ledger(address)[0]
    ledger.render_ns = render_ns
    ledger.render_max_ns = max(ledger.render_max_ns, render_ns)
    ledger.render_hist[histogram_bin(render_ns)] += 1
    if render_ns > int(frames * 1e9 / views.header(address)[0].sample_rate):
        ledger.over_budget += 1
    follow_load(address, frames, render_ns)
