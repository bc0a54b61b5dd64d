"""Views of the block's regions in kernels, which know only the block's address."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, from_dtype, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from crowdstream.desk import constants, dtypes, layout
from crowdstream.desk.layout import REGIONS
from crowdstream.engine.jit.compile import kernel

_INT64 = ir.IntType(64)


def _array_at(dtype: np.dtype, shape: tuple[int, ...], offset: int = 0) -> Any:
    """Return a kernel function that maps an address to the array `offset` bytes after it.

    It replaces `numba.carray`, which a kernel without numba's runtime cannot return.
    """
    kind = types.Array(from_dtype(dtype), len(shape), "C")
    strides = [dtype.itemsize * int(np.prod(shape[at + 1 :])) for at in range(len(shape))]

    @intrinsic
    def view(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = make_array(kind)(context, builder)
            place = builder.add(args[0], ir.Constant(_INT64, offset))
            populate_array(
                array,
                data=builder.inttoptr(place, array.data.type),
                shape=[ir.Constant(_INT64, length) for length in shape],
                strides=[ir.Constant(_INT64, stride) for stride in strides],
                itemsize=ir.Constant(_INT64, dtype.itemsize),
                meminfo=None,
            )
            return array._getvalue()

        return kind(types.int64), codegen

    return view


def _accessor(name: str) -> Any:
    region = REGIONS[name]
    return _array_at(region.dtype, region.shape, region.offset)


F32 = float32

header = _accessor("header")
rings = _accessor("rings")
clock = _accessor("clock")
ledger = _accessor("ledger")
lease = _accessor("lease")
undo_log = _accessor("undo_log")
undo_pieces = _accessor("undo_pieces")
undo = _accessor("undo")
waits = _accessor("waits")
gaps = _accessor("gaps")
master = _accessor("master")
decks = _accessor("decks")
ramps = _accessor("ramps")
voices = _accessor("voices")
sources = _accessor("sources")
commands = _accessor("commands")
events = _accessor("events")
pending = _accessor("pending")
heap = _accessor("heap")
spare = _accessor("spare")
order = _accessor("order")
history = _accessor("history")
tape = _accessor("tape")
stem_past = _accessor("stem_past")
stem_tape = _accessor("stem_tape")
stem_lanes = _accessor("stem_lanes")
stem_eq = _accessor("stem_eq")
stem_eq_use = _accessor("stem_eq_use")
stem_filter = _accessor("stem_filter")
stem_taps = _accessor("stem_taps")
weights = _accessor("weights")
lanes = _accessor("lanes")
wet = _accessor("wet")
curves = _accessor("curves")
gain = _accessor("gain")
fade = _accessor("fade")
fade_curves = _accessor("fade_curves")
sides = _accessor("sides")
mix = _accessor("mix")
bus = _accessor("bus")
players = _accessor("players")
chains = _accessor("chains")
effects = _accessor("effects")
beat = _accessor("beat")
effect_values = _accessor("effect_values")
effect_scratch = _accessor("effect_scratch")
effect_registers = _accessor("effect_registers")
effect_memory = _accessor("effect_memory")
captures = _accessor("captures")
inputs = _accessor("inputs")
input_clock = _accessor("input_clock")
input_lanes = _accessor("input_lanes")
input_out = _accessor("input_out")
input_eq = _accessor("input_eq")
input_eq_use = _accessor("input_eq_use")
input_rings = _accessor("input_rings")
ducks = _accessor("ducks")
cue = _accessor("cue")
stem_out = _accessor("stem_out")
grids = _accessor("grids")
quality = _accessor("quality")
taps = _accessor("taps")
tap_rings = _accessor("tap_rings")
speed = _accessor("speed")
places = _accessor("places")
pitches = _accessor("pitches")
ideals = _accessor("ideals")
fades = _accessor("fades")
wave = _accessor("wave")
scan = _accessor("scan")
steps = _accessor("steps")
fractions = _accessor("fractions")
eq = _accessor("eq")
eq_use = _accessor("eq_use")
eq_coefficients = _accessor("eq_coefficients")
cue_line = _accessor("cue_line")
cue_out = _accessor("cue_out")
steering = _accessor("steering")
steer_line = _accessor("steer_line")
metering = _accessor("metering")
meters = _accessor("meters")
meter_ring = _accessor("meter_ring")
meter_weights = _accessor("meter_weights")
limiter = _accessor("limiter")
delay_line = _accessor("delay_line")
limiter_lows = _accessor("limiter_lows")
limiter_places = _accessor("limiter_places")
limiter_boxes = _accessor("limiter_boxes")
peak_line = _accessor("peak_line")
filter_table = _accessor("filter_table")
filter_knobs = _accessor("filter_knobs")
filter_resonances = _accessor("filter_resonances")
filter_curves = _accessor("filter_curves")
filter_wet = _accessor("filter_wet")
table = _accessor("table")

PAGE_TABLE = REGIONS["page_table"].offset


@kernel
def page_entry_address(address, source, page):
    """Address of the page-table entry of a source's page: int32, 0 if absent, else page + 1."""
    return address + PAGE_TABLE + 4 * (source * constants.MAX_PAGES + page)


@kernel
def page_address(address, page):
    """Address of a page of the arena."""
    return address + layout.ARENA_OFFSET + page * constants.PAGE_BYTES


STEER_MIX_AT = REGIONS["steer_mix"].offset
WET_AT = REGIONS["wet"].offset
UNDO_AT = REGIONS["undo"].offset
LANES_AT = REGIONS["lanes"].offset
INPUT_LANES_AT = REGIONS["input_lanes"].offset
_FILTER_FIELDS = dtypes.FILTER.fields
assert _FILTER_FIELDS is not None
FILTER_STATE = _FILTER_FIELDS["state"][1]
_HEADER_FIELDS = dtypes.HEADER.fields
assert _HEADER_FIELDS is not None
_ARENA_PAGES = REGIONS["header"].offset + _HEADER_FIELDS["arena_pages"][1]
_int64_at = _array_at(np.dtype("i8"), (1,))


@kernel
def attacks_address(address, page):
    """Address of the record of the attacks in a page of the arena."""
    pages = _int64_at(address + _ARENA_PAGES)[0]
    behind = address + layout.ARENA_OFFSET + pages * constants.PAGE_BYTES
    return behind + page * constants.ATTACK_BYTES


# Views at an absolute address. Their shapes are maxima: the callers know the actual lengths.
int16_samples = _array_at(np.dtype("i2"), (constants.PAGE_BYTES // 2,))
int32_samples = _array_at(np.dtype("i4"), (constants.PAGE_BYTES // 4,))
words = _array_at(np.dtype("i4"), (constants.UNDO_WORDS,))
float32_samples = _array_at(np.dtype("f4"), (constants.PAGE_BYTES // 4,))
lane_frames = _array_at(np.dtype("f4"), (constants.SEGMENT, constants.LANES))
filter_unit = _array_at(dtypes.FILTER, (1,))
attacks = _array_at(np.dtype("u2"), (1 + constants.ATTACKS,))  # their count, then their frames
