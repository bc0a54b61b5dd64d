"""The declaration of the shared block: position, type and unit of everything in it.

All state that rendering depends on is a region of this block. The engine accesses it through
compiled kernels, the other processes through numpy views. Both take names, types and offsets from
here, so nothing has to be kept in step by hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from crowdstream.desk.constants import (
    BANDS,
    BUSES,
    CHAINS,
    COMMAND_RING,
    CURVES,
    DECKS,
    DELAY_FRAMES,
    EQ_SECTIONS,
    EVENT_RING,
    FILTER_STEP,
    FILTER_TABLE,
    GAPS,
    GRIDS,
    HANDOVER_FRAMES,
    HISTORY,
    INPUT_FRAMES,
    INPUTS,
    LANES,
    MAX_PAGES,
    METER_GROUPS,
    METER_HOPS,
    PAGE_BYTES,
    PAIRS,
    PEAK_TAPS,
    PENDING,
    PLAYERS,
    SEGMENT,
    SLOTS,
    SOURCES,
    STEER_FRAMES,
    STEER_KEPT,
    STEM_GROUPS,
    STEM_PAST,
    STEMS,
    TABLE,
    TAP_FRAMES,
    TAP_MARGIN,
    TAPE,
    TAPE_PAIRS,
    TAPS,
    UNDO_ENTRIES,
    UNDO_WORDS,
    WAVE,
)
from crowdstream.desk.dtypes import (
    CAPTURE,
    CLOCK,
    COMMAND,
    DECK,
    EQ_USE,
    EVENT,
    FILTER,
    GAP,
    GRID,
    HEADER,
    INPUT,
    INPUT_CLOCK,
    LEASE,
    LEDGER,
    LIMITER,
    LOADER,
    MASTER,
    METER,
    METERING,
    RAMP,
    RINGS,
    SOURCE,
    STEERING,
    TAP,
    UNDO_LOG,
    VOICE,
)
from crowdstream.desk.effects import EFFECT, EFFECTS, MEMORY, REGISTERS, ROWS
from crowdstream.desk.load_shedding import QUALITY
from crowdstream.desk.opcodes import INT16
from crowdstream.desk.ramps import RAMPS

VERSION = 7


@dataclass(frozen=True)
class Region:
    """A named part of the block: `count` elements of `dtype` from byte `offset`."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


def _regions() -> tuple[dict[str, Region], int]:
    parts: list[tuple[str, np.dtype, tuple[int, ...]]] = [
        ("header", HEADER, (1,)),
        ("rings", RINGS, (1,)),
        ("clock", CLOCK, (1,)),
        ("ledger", LEDGER, (1,)),
        ("lease", LEASE, (1,)),
        ("undo_log", UNDO_LOG, (1,)),
        ("undo_pieces", np.dtype("i8"), (UNDO_ENTRIES, 2)),  # offset in the block, words
        ("undo", np.dtype("i4"), (UNDO_WORDS,)),  # their saved contents
        ("waits", np.dtype("i1"), (PENDING,)),  # 1 for each entry of `pending` that is in the heap
        ("loader", LOADER, (1,)),
        ("gaps", GAP, (GAPS,)),
        ("master", MASTER, (1,)),
        ("decks", DECK, (DECKS,)),
        ("ramps", RAMP, (RAMPS,)),
        ("voices", VOICE, (SLOTS,)),
        ("sources", SOURCE, (SOURCES,)),
        ("commands", COMMAND, (COMMAND_RING,)),
        ("events", EVENT, (EVENT_RING,)),
        ("pending", COMMAND, (PENDING,)),
        ("heap", np.dtype("i4"), (PENDING,)),  # indices into pending, soonest first
        ("spare", np.dtype("i4"), (PENDING,)),  # free indices of pending
        ("order", np.dtype("i8"), (PENDING,)),  # arrival number of each pending command
        ("history", np.dtype("f4"), (SLOTS, TAPE_PAIRS, 2, HISTORY)),
        ("tape", np.dtype("f4"), (TAPE_PAIRS, 2, TAPE)),
        ("stem_past", np.dtype("f4"), (SLOTS, STEMS, 2, STEM_PAST)),
        # The last one: the signal that is faded in before a join.
        ("stem_tape", np.dtype("f4"), (STEMS + 1, 2, STEM_PAST + TAPE - HISTORY)),
        ("stem_lanes", np.dtype("f4"), (SEGMENT, LANES)),
        ("stem_eq", np.dtype("f4"), (SLOTS, STEM_GROUPS, EQ_SECTIONS, 2, LANES)),
        ("stem_eq_use", EQ_USE, (SLOTS, STEMS)),
        ("stem_filter", FILTER, (SLOTS, STEM_GROUPS)),
        ("stem_taps", np.dtype("i4"), (DECKS * STEMS,)),  # 1: `stem_out` is filled
        ("weights", np.dtype("f4"), (2, TAPE)),
        ("lanes", np.dtype("f4"), (SEGMENT, LANES)),
        ("wet", np.dtype("f4"), (SEGMENT, LANES)),
        ("mix", np.dtype("f4"), (SEGMENT, 2)),  # input of the master
        ("bus", np.dtype("f4"), (BUSES, SEGMENT, 2)),  # inputs of the send buses
        ("players", np.dtype("f4"), (PLAYERS, SEGMENT, 2)),  # sample pads, announcements
        ("captures", CAPTURE, (INPUTS,)),
        ("inputs", INPUT, (INPUTS,)),
        ("input_clock", INPUT_CLOCK, (1,)),
        ("input_lanes", np.dtype("f4"), (SEGMENT, LANES)),  # the inputs are the first pairs
        ("input_out", np.dtype("f4"), (INPUTS, SEGMENT, 2)),  # after their levels
        ("input_eq", np.dtype("f4"), (EQ_SECTIONS, 2, LANES)),
        ("input_eq_use", EQ_USE, (INPUTS,)),
        ("input_filter", FILTER, (1,)),
        # Gain of the music: for announcements, for each input's talkover.
        ("ducks", np.dtype("f4"), (1 + INPUTS, SEGMENT)),
        ("cue", np.dtype("f4"), (SEGMENT, 2)),  # signal of the second output pair
        ("stem_out", np.dtype("f4"), (DECKS * STEMS, SEGMENT, 2)),  # stems whose tap is on
        ("cue_line", np.dtype("f4"), (DELAY_FRAMES, 2)),
        # The block's cue bus, for the device; behind it, that of a pass of the output's resampler.
        ("cue_out", np.dtype("f4"), (TAP_MARGIN + STEER_FRAMES, 2)),
        ("steering", STEERING, (1,)),
        ("steer_mix", np.dtype("f4"), (STEER_FRAMES, 2)),  # master of a pass
        ("steer_line", np.dtype("f4"), (STEER_KEPT + STEER_FRAMES, 4)),  # master and cue
        # Frames of both output pairs that one engine has rendered for its successor to fade in.
        ("handover", np.dtype("f4"), (HANDOVER_FRAMES, 4)),
        ("curves", np.dtype("f4"), (BANDS, SEGMENT, LANES)),  # gains of the EQ bands
        ("gain", np.dtype("f4"), (2, SEGMENT)),
        ("speed", np.dtype("f8"), (2, SEGMENT)),  # tempo factor; tape frames per frame of the voice
        ("places", np.dtype("f8"), (SEGMENT + 1,)),  # on the tape, of a synced voice
        ("fade", np.dtype("f4"), (2, SEGMENT)),  # the crossfader's gain, left and right side
        ("fade_curves", np.dtype("f8"), (1 + CURVES, SEGMENT)),  # its position, its curve's weights
        ("sides", np.dtype("f4"), (2, SEGMENT)),  # a deck's assignment to each side
        # Tape frames per frame, without and with a nudge; share of keylock; pitch ratio.
        ("pitches", np.dtype("f8"), (4, SEGMENT)),
        ("ideals", np.dtype("f8"), (2, SEGMENT + 1)),  # on-beat playhead: whole, fraction
        ("fades", np.dtype("f4"), (2, TAPE)),  # incoming and outgoing gain of a splice
        ("wave", np.dtype("f4"), (2, WAVE)),  # two stretches of a stem mix that are compared
        ("scan", np.dtype("f4"), (2, WAVE // 8)),  # the same, decimated by eight
        ("steps", np.dtype("i4"), (SEGMENT,)),  # whole frames from the playhead
        ("fractions", np.dtype("f4"), (SEGMENT,)),
        ("eq", np.dtype("f4"), (EQ_SECTIONS, 2, LANES)),
        ("eq_use", EQ_USE, (DECKS,)),
        ("eq_coefficients", np.dtype("f4"), (4, 4)),
        ("limiter", LIMITER, (1,)),
        ("delay_line", np.dtype("f4"), (DELAY_FRAMES, 3)),  # left, right, ceiling
        ("limiter_lows", np.dtype("f8"), (DELAY_FRAMES,)),
        ("limiter_places", np.dtype("i8"), (DELAY_FRAMES,)),
        ("limiter_boxes", np.dtype("i8"), (2, DELAY_FRAMES)),
        ("peak_line", np.dtype("f4"), (2, PEAK_TAPS - 1 + SEGMENT)),
        ("peak_taps", np.dtype("f4"), (PEAK_TAPS, LANES)),  # tap by tap, one phase in each lane
        ("metering", METERING, (1,)),
        ("meters", METER, (METER_GROUPS,)),
        ("meter_ring", np.dtype("f4"), (METER_HOPS, METER_GROUPS, 3, LANES)),
        ("meter_weights", np.dtype("f4"), (2, 5)),
        ("filter", FILTER, (1,)),
        ("filter_table", np.dtype("f8"), (2, FILTER_TABLE)),  # low-pass, high-pass
        ("filter_knobs", np.dtype("f8"), (PAIRS, FILTER_STEP)),
        ("filter_resonances", np.dtype("f8"), (PAIRS, FILTER_STEP)),
        ("filter_curves", np.dtype("f4"), (7, FILTER_STEP, LANES)),
        ("filter_wet", np.dtype("f4"), (FILTER_STEP, LANES)),
        ("table", np.dtype("f4"), (TABLE,)),
        ("chains", np.dtype("i4"), (CHAINS,)),  # first instance of each chain, -1 none
        ("effects", EFFECT, (EFFECTS,)),
        ("beat", np.dtype("f8"), (2, SEGMENT)),  # of the clock, and beats per frame
        ("effect_values", np.dtype("f4"), (ROWS, SEGMENT)),
        ("effect_scratch", np.dtype("f4"), (7, SEGMENT)),
        ("effect_registers", np.dtype("f8"), (EFFECTS, REGISTERS)),
        ("effect_memory", np.dtype("f4"), (EFFECTS, MEMORY)),
        ("quality", QUALITY, (1,)),
        ("grids", GRID, (GRIDS,)),
        ("taps", TAP, (TAPS,)),
        ("tap_rings", np.dtype("f4"), (TAPS, TAP_FRAMES, 2)),
        ("input_rings", np.dtype("f4"), (INPUTS, INPUT_FRAMES, 2)),
        ("page_table", np.dtype("i4"), (SOURCES, MAX_PAGES)),
    ]
    regions: dict[str, Region] = {}
    offset = 0
    for name, dtype, shape in parts:
        offset = -(-offset // 64) * 64
        regions[name] = Region(name, dtype, shape, offset)
        offset += dtype.itemsize * int(np.prod(shape))
    return regions, -(-offset // PAGE_BYTES) * PAGE_BYTES


REGIONS, ARENA_OFFSET = _regions()


def fingerprint() -> str:
    """Return a hash of the version and of all regions and fields, as 16 hexadecimal digits.

    Processes of two versions can share a desk if theirs are equal.
    """
    parts = [
        (one.name, one.dtype.descr if one.dtype.names else one.dtype.str, one.shape, one.offset)
        for one in REGIONS.values()
    ]
    return hashlib.sha256(repr((VERSION, ARENA_OFFSET, parts)).encode()).hexdigest()[:16]


def frames_per_page_shift(fmt: int, channels: int) -> int:
    """Binary logarithm of the number of frames that one page holds in this format."""
    frame_bytes = channels * (2 if fmt == INT16 else 4)
    return (PAGE_BYTES // frame_bytes).bit_length() - 1
