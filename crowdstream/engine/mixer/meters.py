"""Meters: peak, mean square and K-weighted mean square of decks, outputs and stems.

Unread meters cost one test of a flag. Four stereo signals are measured side by side, in hops of 10
ms at fixed frames; a reader sums as many hops as it needs. The weighting follows ITU-R BS.1770-4.
"""

from __future__ import annotations

from crowdstream.desk.constants import (
    DECKS,
    LANES,
    METER_DECKS,
    METER_HOPS,
    METER_OUTPUTS,
    METER_STEMS,
    PAIRS,
    STEMS,
)
from crowdstream.desk.dtypes import METER, METERING
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import METERS_MIX, METERS_STEMS
from crowdstream.engine.dsp.simd import BYTES, larger, load, magnitude, splat, store
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire, store_release
from crowdstream.engine.jit.compile import kernel

_FIELDS = METERING.fields
assert _FIELDS is not None
_ON = REGIONS["metering"].offset + _FIELDS["on"][1]
_HEAD = REGIONS["metering"].offset + _FIELDS["head"][1]
_GROUPS = REGIONS["meters"].offset
_GROUP = METER.itemsize
_SUMS = 4 * BYTES  # follow the filters' state: peak, squares, weighted squares


@kernel
def _accumulate(address, group, sound, count):
    # Accumulate `count` frames of eight lanes, at absolute address `sound`, in the group's sums.
    table = views.meter_weights(address)
    b0, b1, b2 = splat(table[0, 0]), splat(table[0, 1]), splat(table[0, 2])
    a1, a2 = splat(table[0, 3]), splat(table[0, 4])
    d0, d1, d2 = splat(table[1, 0]), splat(table[1, 1]), splat(table[1, 2])
    c1, c2 = splat(table[1, 3]), splat(table[1, 4])
    at = address + _GROUPS + _GROUP * group
    s1 = load(at)
    s2 = load(at + BYTES)
    s3 = load(at + 2 * BYTES)
    s4 = load(at + 3 * BYTES)
    peak = load(at + _SUMS)
    squares = load(at + _SUMS + BYTES)
    weighted = load(at + _SUMS + 2 * BYTES)
    for i in range(count):
        x = load(sound + BYTES * i)
        peak = larger(peak, magnitude(x))
        squares = squares + x * x
        y = b0 * x + s1
        s1 = b1 * x - a1 * y + s2
        s2 = b2 * x - a2 * y
        z = d0 * y + s3
        s3 = d1 * y - c1 * z + s4
        s4 = d2 * y - c2 * z
        weighted = weighted + z * z
    store(at, s1)
    store(at + BYTES, s2)
    store(at + 2 * BYTES, s3)
    store(at + 3 * BYTES, s4)
    store(at + _SUMS, peak)
    store(at + _SUMS + BYTES, squares)
    store(at + _SUMS + 2 * BYTES, weighted)


@kernel
def _measure(address, group, sound, count, frame):
    # Split at the hops; a complete hop is written to the ring.
    hop = views.metering(address)[0].hop
    record = views.meters(address)[group]
    ring = views.meter_ring(address)
    done = 0
    while done < count:
        some = min(count - done, hop - (frame + done) % hop)
        _accumulate(address, group, sound + BYTES * done, some)
        done += some
        if (frame + done) % hop == 0:
            entry = ring[((frame + done) // hop - 1) % METER_HOPS, group]
            for lane in range(LANES):
                for kind in range(3):
                    entry[kind, lane] = record.sums[kind, lane]
                    record.sums[kind, lane] = 0.0


@kernel
def meter_sources(address, count, frame):
    """Measure `count` frames of the decks before their levels, and of the stems if requested."""
    on = load_acquire(address + _ON)
    if on == 0:
        return
    _measure(address, METER_DECKS, address + views.LANES_AT, count, frame)
    if on & METERS_STEMS == 0:
        return
    stems = views.stem_out(address)
    wet = views.wet(address)
    for group in range(STEMS * DECKS // PAIRS):
        for pair in range(PAIRS):
            stem = stems[PAIRS * group + pair]
            for i in range(count):
                wet[i, 2 * pair] = stem[i, 0]
                wet[i, 2 * pair + 1] = stem[i, 1]
        _measure(address, METER_STEMS + group, address + views.WET_AT, count, frame)


@kernel
def meter_outputs(address, inputs, out, at, count, frame):
    """Measure `count` frames of the master, from `out[2 * at ...]`, the cue bus and the `inputs`.

    `inputs`: whether there are any. They are measured before their levels, like decks.
    """
    if load_acquire(address + _ON) & METERS_MIX == 0:
        return
    cue = views.cue(address)
    lanes = views.input_lanes(address)
    wet = views.wet(address)
    for i in range(count):
        wet[i, 0] = out[2 * (at + i)]
        wet[i, 1] = out[2 * (at + i) + 1]
        wet[i, 2] = cue[i, 0]
        wet[i, 3] = cue[i, 1]
        for lane in range(4, LANES):
            wet[i, lane] = lanes[i, lane - 4] if inputs else 0.0
    _measure(address, METER_OUTPUTS, address + views.WET_AT, count, frame)
    store_release(address + _HEAD, (frame + count) // views.metering(address)[0].hop)
