"""Regions of the block as kernels see them, from its address alone."""

from __future__ import annotations

from typing import Any

from numba import carray, float32, float64, int16, int32, int64

from crowdstream.desk import layout
from crowdstream.desk.atomics import pointer
from crowdstream.desk.jit import kernel
from crowdstream.desk.layout import REGIONS

_SCALARS = {"f4": float32, "f8": float64, "i4": int32, "i8": int64}


def _accessor(name: str) -> Any:
    region = REGIONS[name]
    offset, shape = region.offset, region.shape
    dtype = region.dtype if region.dtype.names else _SCALARS[region.dtype.str[1:]]

    def view(address):
        return carray(pointer(address + offset), shape, dtype)

    view.__name__ = name
    return kernel(view)


F32 = float32

header = _accessor("header")
rings = _accessor("rings")
clock = _accessor("clock")
ledger = _accessor("ledger")
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
weights = _accessor("weights")
lanes = _accessor("lanes")
wet = _accessor("wet")
curves = _accessor("curves")
gain = _accessor("gain")
speed = _accessor("speed")
steps = _accessor("steps")
fractions = _accessor("fractions")
eq = _accessor("eq")
eq_coefficients = _accessor("eq_coefficients")
table = _accessor("table")

PAGE_TABLE = REGIONS["page_table"].offset
_ARENA = layout.ARENA_OFFSET
_PAGE = layout.PAGE_BYTES


@kernel
def floats(address, count):
    """`count` float32 from an absolute address on."""
    return carray(pointer(address), (count,), float32)


@kernel
def page_entry_address(address, source, page):
    """Where the page-table entry of a source's page lies: int32, 0 absent, else page + 1."""
    return address + PAGE_TABLE + 4 * (source * layout.MAX_PAGES + page)


@kernel
def page_int16(address, page):
    """A page of the arena as int16 samples."""
    return carray(pointer(address + _ARENA + page * _PAGE), (_PAGE // 2,), int16)


@kernel
def page_float32(address, page):
    """A page of the arena as float32 samples."""
    return carray(pointer(address + _ARENA + page * _PAGE), (_PAGE // 4,), float32)
