"""What gives way when the machine has too little time, and when it comes back.

Decided at the end of each block from how long it took, and done when the next one begins: how a
stretch of time is cut into blocks changes nothing while the level stays. What each level
leaves out is done where it sounds: `engine/effects/chain.py`, `engine/voice/keylock.py`,
`engine/dsp/resample.py`.

Time is counted in what has sounded, so with the same render times the same is decided.
"""

from __future__ import annotations

from crowdstream.desk.constants import BANKS
from crowdstream.desk.load_shedding import (
    BY_CALM,
    BY_COMMAND,
    BY_DEADLINE,
    BY_LOAD,
    FULL,
    LEVELS,
    NO_KEYLOCK,
    NO_OPTIONAL,
    SHORT_FILTERS,
)
from crowdstream.desk.opcodes import EV_QUALITY
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.events import push_event

# Shares of a block's length. Above HIGH the next thing that wakes up on this core makes it late;
# what one level saves is less than what is between them, as a rule, so it does not swing.
HIGH = 0.70
LOW = 0.55
MAX_LOAD = 2.0  # a block that took longer says no more than that

# How fast the load that is looked at rises and falls: a slow block alone does not lower
# the quality, 20 ms of them do; a peak every half second is not forgotten in between.
RISE_NS = 20e6
FALL_NS = 500e6

STEP_NS = 60_000_000  # between two steps down: keylock takes 50 ms to go over
LATE_STEP_NS = 10_000_000  # the same when a block was late: an effect takes 6 ms to go out
WARM_NS = 200_000_000  # an engine's first blocks find no cache warm: they lower nothing
CALM_NS = 4_000_000_000  # of low load before a step back up: a bar of slow music
# Lowered again within this time, a restored step was too early: it waits twice as long.
RELAPSE_NS = 10_000_000_000
MAX_CALM_NS = 120_000_000_000


@kernel
def spares_optional(address):
    """Whether optional effects are left out."""
    return views.quality(address)[0].level >= NO_OPTIONAL


@kernel
def gives_up_keylock(address):
    """Whether the pitch goes with the tempo although it should be kept."""
    return views.quality(address)[0].level >= NO_KEYLOCK


@kernel
def first_bank(address):
    """The first of the interpolator banks in use: the usual ones, or those with short filters."""
    return BANKS if views.quality(address)[0].level >= SHORT_FILTERS else 0


@kernel
def settle_quality(address, frame):
    """Go over to the level that is wanted, and tell: when a block begins, or by a command."""
    quality = views.quality(address)[0]
    if quality.level != quality.wanted:
        quality.level = quality.wanted
        quality.changed_frame = frame
        push_event(address, EV_QUALITY, quality.level, 0, frame, 0, float(quality.why))


@kernel
def excuse_slowness(address):
    """An engine begins to render: its first blocks say nothing about the load."""
    quality = views.quality(address)[0]
    quality.lowered_ns = -WARM_NS


@kernel
def _lower(quality, reason):
    if quality.restored_ns > 0:
        relapse = max(RELAPSE_NS, 2 * quality.patience_ns)
        if quality.restored_ns < relapse:
            quality.patience_ns = min(2 * quality.patience_ns, MAX_CALM_NS)
        else:
            quality.patience_ns = CALM_NS
    quality.restored_ns = 0
    quality.lowered_ns = 0
    quality.calm_ns = 0
    quality.lowered += 1
    quality.load = 0.0  # what it was before says nothing about the level below
    quality.wanted += 1
    quality.why = reason


@kernel
def follow_load(address, frames, render_ns):
    """A block of `frames` frames took `render_ns`: the level for the next one."""
    quality = views.quality(address)[0]
    period = frames * 1e9 / views.header(address)[0].sample_rate
    now = min(render_ns / period, MAX_LOAD)
    if quality.lowered_ns < 0:
        quality.lowered_ns += int(period)
        return
    slow = RISE_NS if now > quality.load else FALL_NS
    quality.load += (now - quality.load) * min(1.0, period / slow)
    passed = int(period)
    quality.lowered_ns += passed
    if quality.restored_ns > 0:
        quality.restored_ns += passed
    quality.calm_ns = quality.calm_ns + passed if quality.load < LOW else 0
    if quality.held > 0:
        return
    quality.patience_ns = max(quality.patience_ns, CALM_NS)
    if quality.wanted < LEVELS - 1:
        if now > 1.0 and quality.lowered_ns >= LATE_STEP_NS:
            _lower(quality, BY_DEADLINE)
            return
        if quality.load > HIGH and quality.lowered_ns >= STEP_NS:
            _lower(quality, BY_LOAD)
            return
    if quality.wanted > FULL and quality.calm_ns >= quality.patience_ns:
        quality.restored_ns = 1
        quality.calm_ns = 0
        quality.wanted -= 1
        quality.why = BY_CALM


@kernel
def hold_quality(address, level, frame):
    """Carry out an `OP_QUALITY`: hold a level, or (-1) follow the load from the present one on."""
    quality = views.quality(address)[0]
    quality.patience_ns = CALM_NS
    quality.restored_ns = 0
    quality.calm_ns = 0
    quality.held = 0
    if level >= 0:
        quality.wanted = min(level, LEVELS - 1)
        quality.why = BY_COMMAND
        quality.held = 1 + quality.wanted
        settle_quality(address, frame)
