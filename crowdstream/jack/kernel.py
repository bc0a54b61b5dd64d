"""The callback of the JACK client: it copies frames from the tap rings to the buffers of the ports.

JACK calls it directly, as machine code: no Python and no GIL is involved, so nothing that this
process does delays the JACK graph. The rings are written by the engine, whose blocks may have
another size and whose card may have another clock. The callback therefore follows the rings' head
at a distance. Where both have one clock, frames are copied bit for bit; otherwise the distance
controls a slowly changing ratio, at which frames are interpolated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

from crowdstream.desk.constants import TAP_FRAMES
from crowdstream.desk.dtypes import TAP
from crowdstream.desk.layout import REGIONS
from crowdstream.engine.jit.atomics import load_acquire

MAX_PORTS = 128
HALF = 16  # frames of the ring on each side of an interpolated one
PHASES = 256  # of the interpolator; between two of them, its coefficients are interpolated

PORT = np.dtype(
    [("tap", "i8"), ("left", "u8"), ("right", "u8"), ("last_left", "f4"), ("last_right", "f4")]
)
STATE = np.dtype(
    [
        ("desk", "i8"),  # address
        ("get_buffer", "i8"),  # address of jack_port_get_buffer
        ("table", "i8"),  # address of the interpolator's coefficients
        ("ports", "i8"),  # number of stereo ports
        ("locked", "i8"),  # 1: the engine and this server have one clock
        ("block", "i8"),  # frames of an engine's block; may change
        ("place", "i8"),  # next frame to play
        ("primed", "i8"),  # frames are played since `place` was chosen
        ("fresh", "i8"),  # this is the first callback of them
        ("calls", "i8"),
        ("gaps", "i8"),  # times that the rings were empty or too far ahead
        ("silent", "i8"),  # frames of silence played because of that
        ("fraction", "f8"),  # of a frame, beyond `place`
        ("ratio", "f8"),  # frames of the ring per frame of JACK, nominally
        ("drift", "f8"),  # the part of the correction that remains
        ("rate", "f8"),  # of the mix, in Hz
        ("margin", "f8"),  # additional distance, in frames
        ("seconds", "f8"),  # since the beginning
        ("mean", "f8"),  # distance to keep, in frames
        ("port", PORT, (MAX_PORTS,)),
    ]
)

# The loop that follows another clock, as for live inputs: fast at first, and then so slow that the
# jitter of blocks does not modulate the pitch.
SETTLE_SECONDS = 1.0  # in which the mean distance is measured
START_HERTZ, LOOP_HERTZ = 0.2, 0.02  # bandwidth at first, and in the end
START_SHARE = 0.4  # the bandwidth is this divided by the seconds since the start
MAX_CORRECTION = 0.002
MARGIN_SECONDS = 0.002  # beyond the blocks, for a reader with another clock
MAX_MARGIN_SECONDS = 0.1  # each gap adds a block, up to this
SLACK_BLOCKS, SLACK_SECONDS = 4, 0.05  # distance beyond the goal at which frames are skipped

_FIELDS = TAP.fields
assert _FIELDS is not None
_HEAD = REGIONS["taps"].offset + _FIELDS["head"][1]
_BYTES = TAP.itemsize
_RINGS = REGIONS["tap_rings"].offset
_MASK = TAP_FRAMES - 1
_FRAMES, _HALF, _PHASES = TAP_FRAMES, HALF, PHASES
_I8 = ir.IntType(64)


def coefficients(ratio: float) -> np.ndarray:
    """Coefficients of a windowed sinc, float32 `(PHASES + 1, 2 * HALF)`: one row per fraction.

    `ratio`: frames of the ring per frame of JACK; above 1, the band is limited accordingly.
    """
    cutoff = min(1.0, 1.0 / ratio)
    offsets = np.arange(-HALF + 1, HALF + 1)[None, :] - np.arange(PHASES + 1)[:, None] / PHASES
    window = np.kaiser(4097, 9.0)
    places = np.clip((offsets + HALF) / (2 * HALF), 0.0, 1.0) * 4096
    made = np.sinc(cutoff * offsets) * np.interp(places, np.arange(4097), window)
    made /= made.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(made, np.float32)


@intrinsic
def _buffer_of(typingctx: Any, function: Any, port: Any, frames: Any) -> Any:
    # Call `void *function(void *port, uint32_t frames)`; addresses are integers.
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I8, [_I8, ir.IntType(32)])
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(pointer, [args[1], builder.trunc(args[2], ir.IntType(32))])

    return types.int64(types.int64, types.int64, types.int64), codegen


def _pointer(kind: Any, element: Any) -> Any:
    @intrinsic
    def at(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], element)

        return kind(types.int64), codegen

    return at


_floats = _pointer(types.CPointer(types.float32), ir.FloatType().as_pointer())


@njit(error_model="numpy")
def _goal(state, frames):
    # Frames by which to follow the head: a block that is about to come, and one in progress.
    reach = 0.0 if state.locked else _HALF + 1 + MARGIN_SECONDS * state.rate
    return 2.0 * max(state.block, frames) + reach + state.margin


@njit(error_model="numpy")
def _interrupt(state, frames):
    # The rings were empty, or have run away: begin again, at a greater distance.
    state.gaps += 1
    state.primed = 0
    more = state.margin + max(state.block, frames)
    state.margin = min(more, MAX_MARGIN_SECONDS * state.rate)


@njit(error_model="numpy")
def _follow(state, head, frames):
    # The ratio for this callback; 0 if the rings hold too little for it.
    goal = _goal(state, frames)
    distance = head - state.place - state.fraction
    slack = SLACK_BLOCKS * max(state.block, frames) + SLACK_SECONDS * state.rate
    if state.primed and distance > goal + slack:
        _interrupt(state, frames)
        goal = _goal(state, frames)
    if not state.primed:
        if head - goal < state.place:  # nothing is played twice
            return 0.0
        state.place = head - int(goal)
        state.fraction = 0.0
        state.seconds = 0.0
        state.mean = goal
        state.primed = state.fresh = 1
        distance = goal
    ratio = 1.0
    if not state.locked:
        seconds = frames * state.ratio / state.rate
        state.seconds += seconds
        if state.seconds <= SETTLE_SECONDS:  # learn the mean distance, which is kept from then on
            state.mean += (distance - state.mean) * seconds / state.seconds
        hertz = min(START_HERTZ, max(LOOP_HERTZ, START_SHARE / state.seconds))
        omega = 2.0 * math.pi * hertz
        error = (distance - state.mean) / state.rate if state.seconds > SETTLE_SECONDS else 0.0
        drift = state.drift + omega * omega * error * seconds
        correction = drift + 2.0 * omega * error
        if abs(correction) <= MAX_CORRECTION:  # beyond it, it would only learn to overshoot
            state.drift = drift
        correction = min(max(correction, -MAX_CORRECTION), MAX_CORRECTION)
        ratio = state.ratio * (1.0 + correction)
    if distance >= frames * ratio + (0 if state.locked else _HALF + 2):
        return ratio
    _interrupt(state, frames)
    return 0.0


@njit(error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def _interpolate(ring, table, place, fraction, side):
    at = fraction * _PHASES
    row = int(at)
    mix = np.float32(at - row)
    first = row * 2 * _HALF
    total = np.float32(0.0)
    for tap in range(2 * _HALF):
        weight = table[first + tap]
        weight += mix * (table[first + 2 * _HALF + tap] - weight)
        total += weight * ring[2 * ((place + tap - _HALF + 1) & _MASK) + side]
    return total


@njit(error_model="numpy")
def _fill(state, number, frames, ratio):
    port = state.port[number]
    left = _floats(_buffer_of(state.get_buffer, np.int64(port.left), frames))
    right = _floats(_buffer_of(state.get_buffer, np.int64(port.right), frames))
    ring = _floats(state.desk + _RINGS + port.tap * _FRAMES * 8)
    if ratio == 0.0:  # from the last frame to silence
        for i in range(frames):
            share = np.float32(1.0 - (i + 1) / frames)
            left[i] = port.last_left * share
            right[i] = port.last_right * share
    elif state.locked:
        for i in range(frames):
            at = 2 * ((state.place + i) & _MASK)
            left[i] = ring[at]
            right[i] = ring[at + 1]
    else:
        table = _floats(state.table)
        for i in range(frames):
            position = state.fraction + i * ratio
            whole = int(position)
            left[i] = _interpolate(ring, table, state.place + whole, position - whole, 0)
            right[i] = _interpolate(ring, table, state.place + whole, position - whole, 1)
    if state.fresh:
        for i in range(frames):
            share = np.float32((i + 1) / frames)
            left[i] *= share
            right[i] *= share
    port.last_left = left[frames - 1]
    port.last_right = right[frames - 1]


@njit(error_model="numpy")
def play(state, frames):
    """Fill the buffers of all ports with the next `frames` frames. `state`: a `STATE` record."""
    state.calls += 1
    if state.ports == 0:
        return
    # All rings have the same frames: the engine writes them in one turn.
    head = load_acquire(state.desk + _HEAD + _BYTES * state.port[0].tap)
    for number in range(1, state.ports):
        head = min(head, load_acquire(state.desk + _HEAD + _BYTES * state.port[number].tap))
    ratio = _follow(state, head, frames)
    for number in range(state.ports):
        _fill(state, number, frames, ratio)
    state.fresh = 0
    if ratio == 0.0:
        state.silent += frames
    elif state.locked:
        state.place += frames
    else:
        position = state.fraction + frames * ratio
        state.place += int(position)
        state.fraction = position - int(position)


def compile_callback() -> Any:
    """Compile the callback `int process(uint32_t frames, void *state)`; it owns the code."""
    from numba import carray

    dtype = STATE

    def process(frames: Any, state: Any) -> int:
        play(carray(state, (1,), dtype)[0], np.int64(frames))
        return 0

    return cfunc(types.int32(types.uint32, types.voidptr))(process)
