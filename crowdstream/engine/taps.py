"""Taps: copies of the signal at points of the mixer, for other processes to read.

An unread tap costs one test of its counter. New frames are published once per turn; readers must
allow for the frames that the engine is writing in the meantime.
"""

from __future__ import annotations

from crowdstream.desk.constants import (
    DECKS,
    INPUTS,
    STEMS,
    TAP_CUE,
    TAP_DECK,
    TAP_FRAMES,
    TAP_INPUT,
    TAP_MASTER,
    TAP_MUSIC,
    TAP_STEM,
    TAPS,
)
from crowdstream.desk.dtypes import TAP
from crowdstream.desk.layout import REGIONS
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire, store_release
from crowdstream.engine.jit.compile import kernel

_FIELDS = TAP.fields
assert _FIELDS is not None
_ON = REGIONS["taps"].offset + _FIELDS["on"][1]
_HEAD = REGIONS["taps"].offset + _FIELDS["head"][1]
_BYTES = TAP.itemsize
_MASK = TAP_FRAMES - 1


@kernel
def _has_reader(address, tap, frame, count):
    # Whether the tap has a reader; if so, record that it now holds `count` frames from `frame` on.
    if load_acquire(address + _ON + _BYTES * tap) == 0:
        return False
    record = views.taps(address)[tap]
    if record.next != frame:
        record.since = frame
    record.next = frame + count
    return True


@kernel
def tap_sources(address, inputs, count, frame):
    """Copy `count` frames of the decks, of their stems and of the `inputs`, before the levels.

    `inputs`: whether there are any.
    """
    lanes = views.lanes(address)
    stems = views.stem_out(address)
    rings = views.tap_rings(address)
    for deck in range(DECKS):
        if _has_reader(address, TAP_DECK + deck, frame, count):
            ring = rings[TAP_DECK + deck]
            for i in range(count):
                ring[(frame + i) & _MASK, 0] = lanes[i, 2 * deck]
                ring[(frame + i) & _MASK, 1] = lanes[i, 2 * deck + 1]
    lanes = views.input_lanes(address)
    for number in range(INPUTS):
        if _has_reader(address, TAP_INPUT + number, frame, count):
            ring = rings[TAP_INPUT + number]
            for i in range(count):
                ring[(frame + i) & _MASK, 0] = lanes[i, 2 * number] if inputs else 0.0
                ring[(frame + i) & _MASK, 1] = lanes[i, 2 * number + 1] if inputs else 0.0
    for stem in range(DECKS * STEMS):
        if _has_reader(address, TAP_STEM + stem, frame, count):
            ring = rings[TAP_STEM + stem]
            for i in range(count):
                ring[(frame + i) & _MASK, 0] = stems[stem, i, 0]
                ring[(frame + i) & _MASK, 1] = stems[stem, i, 1]


@kernel
def tap_music(address, count, frame):
    """Copy `count` frames of the mix before inputs and announcements are added."""
    if _has_reader(address, TAP_MUSIC, frame, count):
        ring = views.tap_rings(address)[TAP_MUSIC]
        mix = views.mix(address)
        for i in range(count):
            ring[(frame + i) & _MASK, 0] = mix[i, 0]
            ring[(frame + i) & _MASK, 1] = mix[i, 1]


@kernel
def tap_outputs(address, out, at, count, frame):
    """Copy `count` frames of the master, from `out[2 * at ...]`, and of the cue bus.

    These leave the limiter later than they were mixed. The rings store them at the frame at which
    they were mixed, aligned with the decks and stems that they are made of.
    """
    rings = views.tap_rings(address)
    frame -= views.limiter(address)[0].delay
    if _has_reader(address, TAP_MASTER, frame, count):
        ring = rings[TAP_MASTER]
        for i in range(count):
            ring[(frame + i) & _MASK, 0] = out[2 * (at + i)]
            ring[(frame + i) & _MASK, 1] = out[2 * (at + i) + 1]
    if _has_reader(address, TAP_CUE, frame, count):
        ring = rings[TAP_CUE]
        cue = views.cue(address)
        for i in range(count):
            ring[(frame + i) & _MASK, 0] = cue[i, 0]
            ring[(frame + i) & _MASK, 1] = cue[i, 1]


@kernel
def publish_taps(address):
    """Publish the frames written to the rings since the last call."""
    taps = views.taps(address)
    for tap in range(TAPS):
        if taps[tap].next != taps[tap].head:
            store_release(address + _HEAD + _BYTES * tap, taps[tap].next)
