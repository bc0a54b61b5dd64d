"""Load shedding: reduce quality under CPU overload and restore it afterwards.

The level is decided at the end of each block from its render time, and takes effect when the next
block begins: while the level stays, the division into blocks changes nothing. Each reduction is
implemented where the sound is made: `engine/effects/chain.py`, `engine/voice/keylock.py`,
`engine/dsp/resample.py`.

Time is counted in rendered audio, so that equal render times lead to equal decisions.
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

# Fractions of a block's duration. Above HIGH, any other task that wakes up on this core makes the
# block late. One level usually saves less than the difference between the two, which prevents
# oscillation.
HIGH = 0.70
LOW = 0.55
MAX_LOAD = 2.0  # longer blocks count as this

# Attack and release times of the smoothed load: a single slow block does not lower the quality, 20
# ms of them do; a peak every half second is not forgotten in between.
RISE_NS = 20e6
FALL_NS = 500e6

STEP_NS = 60_000_000  # between two steps down: the keylock glide takes 50 ms
LATE_STEP_NS = 10_000_000  # the same after a late block: an effect takes 6 ms to fade out
WARM_NS = 200_000_000  # an engine's first blocks run with cold caches and do not lower the quality
CALM_NS = 4_000_000_000  # low load required before a step up: a bar of slow music
# If lowered again within this time, the step up was too early, and the next one waits twice as
# long.
RELAPSE_NS = 10_000_000_000
MAX_CALM_NS = 120_000_000_000


@kernel
def sheds_optional(address):
    """Return whether optional effects are shed."""
    return views.quality(address)[0].level >= NO_OPTIONAL


@kernel
def sheds_keylock(address):
    """Return whether keylock is shed, so that the pitch follows the tempo."""
    return views.quality(address)[0].level >= NO_KEYLOCK


@kernel
def first_bank(address):
    """Return the first interpolator bank in use: 0, or `BANKS` for those with short filters."""
    return BANKS if views.quality(address)[0].level >= SHORT_FILTERS else 0


@kernel
def apply_quality(address, frame):
    """Switch to the wanted level and report it, at the beginning of a block or by a command."""
    quality = views.quality(address)[0]
    if quality.level != quality.wanted:
        quality.level = quality.wanted
        quality.changed_frame = frame
        push_event(address, EV_QUALITY, quality.level, 0, frame, 0, float(quality.why))


@kernel
def ignore_first_blocks(address):
    """Exempt the first blocks of an engine that begins to render from load shedding."""
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
    quality.load = 0.0  # the past load does not predict the load at the lower level
    quality.wanted += 1
    quality.why = reason


@kernel
def follow_load(address, frames, render_ns):
    """Decide on the level for the next block, after a block of `frames` frames took `render_ns`."""
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
    """Apply `OP_QUALITY`: hold a level, or follow the load from the current level on.

    `level`: the level to hold, or -1 to follow the load.
    """
    quality = views.quality(address)[0]
    quality.patience_ns = CALM_NS
    quality.restored_ns = 0
    quality.calm_ns = 0
    quality.held = 0
    if level >= 0:
        quality.wanted = min(level, LEVELS - 1)
        quality.why = BY_COMMAND
        quality.held = 1 + quality.wanted
        apply_quality(address, frame)
