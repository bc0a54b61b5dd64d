"""The one declaration of the shared block: what lies where, in which type and unit.

Everything the sound depends on is a region of this block. The engine reads and writes it
through compiled kernels, the other processes through numpy views; both take names, types
and offsets from here, so that there is nothing to keep in step by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdstream.desk.effects import EFFECT, EFFECTS, MEMORY, REGISTERS, ROWS

VERSION = 2

DECKS = 4
BANDS = 3  # low, mid, high
STEMS = 8  # stems of one voice
VOICES = 64  # playheads that can sound at once
GHOSTS = 32  # extra slots in which a voice that jumped or restarted fades out
SLOTS = VOICES + GHOSTS
SOURCES = 1024  # stems that can be loaded at once

PAGE_BYTES = 65536
ATTACKS = 31  # attacks that one page can name: with their number they fill a cache line
ATTACK_BYTES = 2 * (1 + ATTACKS)
UNKNOWN = 65535  # in place of their number: nobody has looked for them
MAX_PAGES = 131072  # pages of one source: 13 h of 16-bit stereo, 6.7 h of float stereo

COMMAND_RING = 16384  # commands on their way to the engine; a power of two
EVENT_RING = 4096
PENDING = 8192  # commands in the engine whose frame has not come

SEGMENT = 256  # most frames rendered in one go, sized for a first-level cache
HISTORY = 192  # mixed source frames kept per voice for the interpolator
TAPE = HISTORY + 4 * SEGMENT + 256  # history and what one segment can need at rate 4
LANES = 2 * DECKS
PAIRS = LANES // 2  # stereo signals that are worked on side by side

DELAY_FRAMES = 4096  # of the limiter's look-ahead and its detector, most; a power of two
PEAK_TAPS = 32  # of each phase of the true-peak detector
PEAK_BOUND = 2.6  # no value between samples is so many times the samples around it (sum |taps|)

FILTER_STEP = 32  # frames whose coefficients are worked out together: they fit a first-level cache
FILTER_TABLE = 2049  # places of the knob whose cutoff is tabulated; in between it is linear
WAVE = 8192  # frames in which a place for a splice is looked for

# What a voice's stems are mixed to, a stereo pair each: its deck, the cue bus, the send buses,
# and each stem alone for those who record it.
PAIR_MAIN, PAIR_CUE, PAIR_BUS, PAIR_STEM = 0, 1, 2, 4
TAPE_PAIRS = PAIR_STEM + STEMS
STEM_PAST = 96  # frames kept of each stem: what a join follows, and what may be taken back
STEM_GROUP = PAIRS  # stems that are filtered side by side
STEM_GROUPS = STEMS // STEM_GROUP

BUSES = 2  # send buses
CHAINS = DECKS + BUSES + 1  # chains of effects: decks, buses, master
CHAIN_BUS, CHAIN_MASTER = DECKS, DECKS + BUSES
GRIDS = 1024  # beat grids of loaded tracks
GRID_POINTS = 512  # pairs of beat and file frame in one grid; linear between them

# Taps: rings in which others can read what passes through a place of the mixer.
TAP_FRAMES = 131072  # frames of one ring: 3 s at 44.1 kHz; a power of two
# Frames in front of `head` that the engine may be writing already: its longest block.
TAP_MARGIN = 16384
TAP_MASTER, TAP_CUE = 0, 1
TAP_DECK = 2  # + deck: after its EQ and effects, before its level
TAP_STEM = 8  # + 8 * deck + stem: the stem alone, as it goes into the deck
TAPS = TAP_STEM + STEMS * DECKS

HISTOGRAM = 64  # bins of render time and callback interval
GAPS = 256  # the latest gaps, with their causes

# Interpolator: taps, and the highest rate each bank is made for. A bank above the first
# has its cutoff lowered by that rate, so that nothing folds back when a track runs fast.
# 1.22 is as far as an 18 kHz tone can be taken up before it would fold.
PHASES = 512
BANK_TAPS = (32, 40, 48, 64, 96, 128)
BANK_RATES = (1.1, 1.22, 1.5, 2.0, 3.0, 4.0)
MIN_RATE, MAX_RATE = 0.25, 4.0

# Sample formats of a source.
INT16, FLOAT32 = 0, 1

# Voice states.
FREE, PLAYING, ENDING = 0, 1, 2

# Command codes.
OP_NONE = 0  # a command that was cancelled while it waited
OP_RAMP = 1  # index: ramp; x: target; y: frames
OP_START = 2  # target: voice; the whole setup is in the command
OP_STOP = 3  # target: voice
OP_SEEK = 4  # target: voice; start: source frame
OP_TONE = 5  # x: hertz; y: linear gain; start: frames
OP_STOP_ALL = 6
OP_MARK = 7  # answers with an event: the frame at which it was reached
OP_CANCEL = 8  # target: voice; starts and jumps sent before this one that still wait are dropped
# The clock from its frame on. start: that frame (also when the command comes late); x: beat
# there; y: beats a frame there; z: beats a frame at the end; loop_out: frames from y to z.
OP_CLOCK = 9
OP_SYNC = 10  # target: voice; index: on; x: its beats per beat of the clock; y: quantum, beats
OP_LOOP = 11  # target: voice; index: one of LOOP_*
OP_JUMP = 12  # target: voice; index: 0 by y file frames, 1 by y beats of its grid
OP_SLIP = 13  # target: voice; index: on
OP_REVERSE = 14  # target: voice; index: on
OP_SPIN = 15  # target: voice; x: speed to go to, 1 is playing; y: frames; index: 1 stop then
OP_GRID = 16  # target: voice; index: its beat grid from now on, -1 none
OP_KEYLOCK = 17  # target: voice; index: on
# target: chain; index: instance that comes in, -1 none; start: what it stands behind, -1 the
# beginning; end: instance that leaves, -1 none.
OP_EFFECT = 32
OP_EFFECT_MOVE = 33  # index: instance; start: what it is to stand behind, -1 the beginning

OP_SETTLE = 18  # the engine's own, when a platter has come to rest or to speed
# Curves of the crossfader.
CURVE_ADDITIVE, CURVE_POWER, CURVE_CUT = 0, 1, 2
CURVES = 3

OP_LOOKAHEAD = 40  # x: frames that the limiter looks ahead, 0 for none
# Meters: groups of four stereo signals, and what can be asked for.
METER_DECKS, METER_OUTPUTS, METER_STEMS = 0, 1, 2  # outputs: master, cue; stems: + group
METER_GROUPS = METER_STEMS + STEMS * DECKS // PAIRS
METER_HOPS = 64  # of 10 ms in the ring
METERS_MIX, METERS_STEMS = 1, 2

# What OP_LOOP does.
LOOP_EXIT = 0  # plays on past the loop's end
LOOP_SET = 1  # loop_in, loop_out: file frames; z: its exact length in frames; x: in beats or 0
LOOP_HERE = 2  # from here on, x beats; y: its beginning snaps to so many beats, 0 does not
LOOP_SCALE = 3  # x times as long, its beginning stays
LOOP_MOVE = 4  # by x beats
LOOP_IN = 5  # its beginning is here; y as in LOOP_HERE
LOOP_OUT = 6  # its end is here, and it begins; y as in LOOP_HERE
LOOP_AGAIN = 7  # back into the loop that was left

# Event codes.
EV_STARTED = 1
EV_ENDED = 2  # value: 0 the end was reached, 1 stopped, 2 cancelled before it began
EV_LATE = 3  # value: how many frames late
EV_REFUSED = 4  # the table of pending commands was full
EV_MARK = 5
EV_EFFECT_FREE = 16  # target: instance of an effect that is silent and out of its chain

# Causes of a gap.
CAUSE_CALLBACK, CAUSE_RENDER, CAUSE_DEVICE, CAUSE_PAGE = 0, 1, 2, 3
CAUSES = ("late_callback", "slow_render", "device", "missing_page")

# Ramped parameters are rows of one table, addressed by number.
RAMP_MASTER = 0
RAMP_CROSSFADER = 2  # 0: all of the left side, 1: all of the right side
RAMP_CUE = 3  # level of the cue bus
RAMP_DECK = 8  # + deck: level
RAMP_TRIM = 12  # + deck: linear gain before the EQ
RAMP_EQ = 16  # + 4 * deck + band
RAMP_FILTER = 32  # + deck: -1 low-pass closed, 0 off, 1 high-pass closed
RAMP_RESONANCE = 36  # + deck: 0 no peak at the cutoff, 1 the highest
RAMP_LISTEN = 40  # + deck: how much of it is heard on the cue bus
RAMP_PATCH = 48  # + 4 * source + destination: decks and buses to buses 0, 1 and the master 2
RAMP_LEFT = 112  # + deck: how far it is assigned to the crossfader's left side, 0..1
RAMP_RIGHT = 116  # + deck: to its right side; what is left of 1 goes through
RAMP_CURVE = 120  # + one of CURVE_*: its weight in the crossfader's curve; together 1
RAMP_CEILING = 123  # of the limiter, linear
RAMP_PREFADER = 72  # + BUSES * deck + bus: 0 it is sent after the deck's level, 1 before it
RAMP_EFFECT = 128  # + ROWS * instance + row
RAMP_VOICE = RAMP_EFFECT + ROWS * EFFECTS  # + VOICE_ROWS * slot + one of:
VOICE_ROWS = 96
VOICE_GAIN, VOICE_ENVELOPE, VOICE_RATE = 0, 1, 2
VOICE_PITCH = 3  # ratio: 2 is an octave up
VOICE_KEYLOCK = 5  # 0: the pitch goes with the tempo, 1: it is kept
VOICE_SPIN = 4  # speed of the platter: 0 stands, 1 plays
VOICE_STEM = 8  # + stem: gain
VOICE_LISTEN = 16  # + stem: how much of it is heard on the cue bus
VOICE_SEND = 24  # + 8 * bus + stem: how much of it goes to a send bus
VOICE_EQ = 40  # + 3 * stem + band
VOICE_FILTER = 64  # + stem: as RAMP_FILTER
VOICE_RESONANCE = 72  # + stem
RAMPS = RAMP_VOICE + VOICE_ROWS * SLOTS


# What ramps are where nothing was said; all others are 1. Every deck goes through past the
# crossfader, whose place is the middle.
NEUTRAL = {
    RAMP_CROSSFADER: 0.5,
    **dict.fromkeys(range(RAMP_LISTEN, RAMP_LISTEN + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_FILTER, RAMP_FILTER + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_RESONANCE, RAMP_RESONANCE + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_LEFT, RAMP_LEFT + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_RIGHT, RAMP_RIGHT + DECKS), 0.0),
    RAMP_CURVE + CURVE_ADDITIVE: 0.0,
    RAMP_CURVE + CURVE_CUT: 0.0,
    # A deck or bus goes to the master and nowhere else.
    **{
        RAMP_PATCH + 4 * source + destination: 0.0
        for source in range(DECKS + BUSES)
        for destination in (0, 1, 3)
    },
    **dict.fromkeys(range(RAMP_PREFADER, RAMP_PREFADER + DECKS * BUSES), 0.0),
    **{
        RAMP_VOICE + VOICE_ROWS * slot + row: 0.0
        for slot in range(SLOTS)
        for rows in (range(VOICE_LISTEN, VOICE_EQ), range(VOICE_FILTER, VOICE_RESONANCE + STEMS))
        for row in rows
    },
}


def deck_level_ramp(deck: int) -> int:
    """Row of a deck's level (linear)."""
    return RAMP_DECK + deck


def eq_ramp(deck: int, band: int) -> int:
    """Row of the linear gain of a deck's EQ band (0 low, 1 mid, 2 high)."""
    return RAMP_EQ + 4 * deck + band


def voice_ramp(slot: int, which: int) -> int:
    """Row of a parameter of a voice, one of `VOICE_...`."""
    return RAMP_VOICE + VOICE_ROWS * slot + which


def patch_ramp(source: int, destination: int) -> int:
    """Row of the gain from a deck (0 to 3) or bus (4, 5) to a bus (0, 1) or the master (2)."""
    return RAMP_PATCH + 4 * source + destination


def effect_ramp(instance: int, row: int) -> int:
    """Row of the mix, the switch or a parameter of an effect, see `desk.effects`."""
    return RAMP_EFFECT + ROWS * instance + row


def _record(*fields: tuple[object, ...]) -> np.dtype:
    return np.dtype(list(fields), align=True)


HEADER = _record(
    ("version", "i8"),
    ("size", "i8"),
    ("arena_offset", "i8"),
    ("arena_pages", "i8"),
    ("sample_rate", "f8"),
    ("block_frames", "i8"),
)

# Each counter of a ring has a cache line of its own, because two cores write them.
RINGS = _record(
    ("command_head", "i8"),
    ("pad0", "i8", (7,)),
    ("command_tail", "i8"),
    ("pad1", "i8", (7,)),
    ("event_head", "i8"),
    ("pad2", "i8", (7,)),
    ("event_tail", "i8"),
    ("pad3", "i8", (7,)),
)

CLOCK = _record(
    ("frame", "i8"),  # the frame that the next block begins with
    ("epoch", "i8"),  # blocks rendered: when it has moved by two, no old page is in use
    ("callback_ns", "i8"),  # monotonic time at which the latest block was asked for
    ("callback_frame", "i8"),  # and its first frame
    ("previous_ns", "i8"),
    ("latency", "f8"),  # seconds from render to sound, as the device reports it
    ("stamp", "i8"),  # odd while callback_ns and callback_frame are being written
    # Tempo: from `tempo_frame` on it moves in a straight line for `tempo_left` frames, then stays.
    ("tempo_frame", "i8"),
    ("tempo_beat", "f8"),  # the beat at that frame
    ("tempo_rate", "f8"),  # beats a frame at that frame
    ("tempo_slope", "f8"),  # what they grow by in a frame
    ("tempo_left", "i8"),
    ("tempo_end", "f8"),  # beats a frame after that
    ("tempo_base", "f8"),  # beats a frame at which a deck that is not synced plays at its own rate
)

RAMP = _record(("value", "f8"), ("step", "f8"), ("target", "f8"), ("left", "i8"))

COMMAND = _record(
    ("frame", "i8"),  # 0: at once
    ("serial", "i8"),
    ("op", "i4"),
    ("target", "i4"),
    ("index", "i4"),
    ("flags", "i4"),
    ("by_beat", "i4"),  # 1: it acts at `beat` of the clock, `frame` is where that was expected
    ("grid", "i4"),  # of a start: the track's beat grid, -1 none
    ("beat", "f8"),
    ("x", "f8"),
    ("y", "f8"),
    ("z", "f8"),
    ("start", "i8"),
    ("loop_in", "i8"),
    ("loop_out", "i8"),
    ("end", "i8"),
    ("sources", "i2", (STEMS,)),
    ("gains", "f4", (STEMS,)),
)

EVENT = _record(
    ("frame", "i8"),
    ("wanted", "i8"),
    ("serial", "i8"),
    ("kind", "i4"),
    ("target", "i4"),
    ("value", "f8"),
)

VOICE = _record(
    ("state", "i4"),
    ("deck", "i4"),
    ("stems", "i4"),
    ("loop", "i4"),
    ("direction", "i4"),  # 1 forward, -1 backward
    ("grid", "i4"),  # its beat grid, -1 none
    ("synced", "i4"),  # its place is a function of the clock: see engine/motion.py
    ("keylock", "i4"),
    ("slip", "i4"),
    ("resync", "i4"),  # it is synced again when the platter has come to speed
    ("spin_stop", "i4"),  # it stops when the platter has come to rest
    ("sync_ratio", "f8"),  # its beats in a beat of the clock
    ("sync_offset", "f8"),  # its beat when the clock's is 0
    ("sync_tape", "f8"),  # what is between its place in the file and on the tape
    ("sync_rate", "f8"),  # rate at which it would play as fast as it does if it were let go
    ("sync_quantum", "f8"),  # beats: the offset is a multiple of it
    ("slip_offset", "f8"),  # sync_offset of the place it would be at without loops and jumps
    ("slip_place", "f8"),  # that place while it is not synced, file frames
    ("mark_in", "f8"),  # where a loop was said to begin, file frames, -1 nowhere
    ("loop_beat", "f8"),  # the beat of its grid at which the loop begins
    ("loop_beats", "f8"),  # length of the loop in beats of its grid, 0 unknown
    ("serial", "i8"),  # of the command that started it
    ("cursor", "i8"),  # file frame that is fed to the tape next
    ("fed", "i8"),  # frames fed to the tape since the start
    ("play", "i8"),  # tape frame under the playhead
    ("fraction", "f8"),  # and how far it is past that frame, 0..1
    ("loop_in", "i8"),
    ("loop_out", "i8"),
    ("loop_exact", "f8"),  # length of the loop, frames; laps are cut to whole frames around it
    ("loop_rest", "f8"),  # by how much the laps fed so far were shorter, -0.5 to 0.5
    ("wrap_at", "i8"),  # tape frame of the latest wrap
    ("wrap_length", "i8"),  # and by how many file frames it went back
    ("end", "i8"),  # file frame at which it ends when it does not loop
    ("length", "i8"),  # frames of its longest stem
    ("ended", "i8"),  # tape frame of the end, -1 while it has not been reached
    ("position", "i8"),  # file frame under the playhead, for observers
    ("wraps", "i8"),  # times the loop was gone through
    ("bank", "i4"),
    ("old_bank", "i4"),
    ("bank_left", "i4"),  # frames left of the crossfade between two banks
    ("offset", "f4", (STEMS, 2)),  # what is added to hide a step, dying away
    ("pair_until", "i8", (TAPE_PAIRS,)),  # tape frame from which on a pair is out of use
    # The head that sounds with keylock; see engine/keylock.py.
    ("locked", "i4"),  # it is there
    ("splice_fade", "i4"),  # frames of the crossfade of the splice that is planned
    ("fade_length", "i4"),  # of the one that sounds
    ("fade_left", "i4"),
    ("fade_lag", "i8"),  # file frames from what fades out to what fades in
    ("fade_alike", "f8"),  # correlation of the two, 0 to 1
    ("splice_at", "i8"),  # tape frame of the next splice, -1 none
    ("splice_lag", "i8"),  # file frames it jumps by
    ("splice_target", "i8"),  # file frame of the attack it is made for, -1 none
    ("splice_alike", "f8"),
    ("splices", "i8"),  # made since the second head came
    ("decide_at", "i8"),  # tape frame before which the next decision is due
    ("nudge", "f8"),  # by how much its tape is read faster, to come to a whole frame
    ("lock_cursor", "i8"),
    ("lock_fed", "i8"),
    ("lock_play", "i8"),
    ("lock_fraction", "f8"),
    ("lock_ended", "i8"),
    ("lock_wraps", "i8"),
    ("lock_wrap_at", "i8"),
    ("lock_wrap_length", "i8"),
    ("lock_loop_rest", "f8"),
    ("sources", "i4", (STEMS,)),
    ("hole", "i4", (STEMS,)),  # silent: -1 page missing, -2 stem over; > 0: fade-in frames left
)

SOURCE = _record(
    ("frames", "i8"),
    ("format", "i4"),
    ("channels", "i4"),
    ("page_shift", "i4"),  # frames of a page = 1 << page_shift
    ("used", "i4"),
)

# A beat grid: pairs of beat (beat 0 is a downbeat) and file frame, both rising, at least two.
# Linear between them; the first and the last stretch go on outwards.
GRID = _record(
    ("count", "i8"), ("beats", "f8", (GRID_POINTS,)), ("frames", "f8", (GRID_POINTS,))
)

# One ring of frames, written by the engine, read by any number of others. Frame f of the stream
# lies at index f modulo TAP_FRAMES. Readers ask for it by raising `on` (see `desk.taps`).
TAP = _record(
    ("on", "i8"),
    ("since", "i8"),  # first frame it holds since it was switched on
    ("head", "i8"),  # frame behind the latest one; store-release
    ("next", "i8"),  # the same inside a block, for the engine alone
)

EQ_USE = _record(
    ("eq_state", "i4"),  # 0 bypassed, 1 in use
    ("eq_warm", "i4"),  # frames the filters have run since they came into use
    ("eq_mix", "f8"),  # 0 dry, 1 filtered
    ("eq_flat", "i8"),  # frame of the segment from which on all gains are and stay 1
)

DECK = _record(
    ("peak", "f8"),  # largest sample since an observer reset it
)

MASTER = _record(
    ("limit_gain", "f8"),
    ("cue_gain", "f8"),  # of the cue bus's limiter
    ("tone_left", "i8"),
    ("tone_done", "i8"),
    ("tone_step", "f8"),  # radians a frame
    ("tone_phase", "f8"),
    ("tone_gain", "f8"),
    ("peak", "f8"),
    ("pending", "i8"),  # commands in the heap
)

LIMITER = _record(
    ("frame", "i8"),  # frames that have come in
    ("lookahead", "i8"),  # frames by which the gain knows what comes
    ("delay", "i8"),  # frames by which the sound comes out late: that and the detector's
    ("reach", "i8"),  # frames back from which a gain is still in force
    ("first_box", "i8"),  # frames of the moving averages
    ("second_box", "i8"),
    ("first_sum", "i8"),
    ("second_sum", "i8"),
    ("oldest", "i8"),  # of the gains below 1 in the look-ahead
    ("newest", "i8"),
    ("held", "f8"),  # gain after the release, before it is smoothed
)

METERING = _record(
    ("on", "i8"),  # METERS_... of what is asked for; set by control
    ("hop", "i8"),  # frames of an entry of the ring: 10 ms
    ("head", "i8"),  # entries that are complete; store-release
)

# Four stereo signals that are measured side by side.
METER = _record(
    ("state", "f4", (4, LANES)),  # of the K-weighting
    ("sums", "f4", (3, LANES)),  # of this hop: peak, squares, K-weighted squares
)

LEDGER = _record(
    ("blocks", "i8"),
    ("frames", "i8"),
    ("gaps", "i8", (len(CAUSES),)),  # underruns by cause
    ("device_flags", "i8"),  # blocks that the device flagged
    ("over_budget", "i8"),  # renders longer than the block they made
    ("missing_frames", "i8"),  # stem frames that should have sounded and had no page
    ("missing_pages", "i8"),  # times a stem fell silent for want of a page
    ("late_commands", "i8"),
    ("latest_frames", "i8"),  # the latest command, in frames
    ("commands", "i8"),
    ("pending_refused", "i8"),
    ("events_lost", "i8"),
    ("hard_cuts", "i8"),  # jumps that found no slot to fade out in
    ("nonfinite", "i8"),  # frames that were no number, infinite or absurd: silenced
    ("limited_frames", "i8"),
    ("render_max_ns", "i8"),
    ("render_ns", "i8"),
    ("interval_max_ns", "i8"),
    ("guarded", "i8"),  # callbacks that raised and gave silence
    ("realtime", "i8"),  # 1 real-time priority held, -1 refused, 0 not tried
    ("reset_serial", "i8"),  # observers raise it to have the maxima begin anew
    ("reset_seen", "i8"),
    ("render_hist", "i8", (HISTOGRAM,)),
    ("interval_hist", "i8", (HISTOGRAM,)),
    ("gap_count", "i8"),
)

GAP = _record(("frame", "i8"), ("cause", "i8"), ("excess_ns", "i8"), ("time_ns", "i8"))

# Filters side by side, for four pairs of lanes. Zeroed: out of use.
FILTER = _record(
    ("state", "f4", (4, LANES)),
    ("mix", "f8", (PAIRS,)),  # 0 dry, 1 filtered
    ("used", "i4", (PAIRS,)),
)

TABLE = sum((PHASES + 1) * taps for taps in BANK_TAPS)
EQ_SECTIONS = 11  # second-order filters of the EQ


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
        # The last one: what is faded in before a join.
        ("stem_tape", np.dtype("f4"), (STEMS + 1, 2, STEM_PAST + TAPE - HISTORY)),
        ("stem_lanes", np.dtype("f4"), (SEGMENT, LANES)),
        ("stem_eq", np.dtype("f4"), (SLOTS, STEM_GROUPS, EQ_SECTIONS, 2, LANES)),
        ("stem_eq_use", EQ_USE, (SLOTS, STEMS)),
        ("stem_filter", FILTER, (SLOTS, STEM_GROUPS)),
        ("stem_taps", np.dtype("i4"), (DECKS * STEMS,)),  # 1: `stem_out` is filled
        ("weights", np.dtype("f4"), (2, TAPE)),
        ("lanes", np.dtype("f4"), (SEGMENT, LANES)),
        ("wet", np.dtype("f4"), (SEGMENT, LANES)),
        ("mix", np.dtype("f4"), (SEGMENT, 2)),  # what goes to the master
        ("bus", np.dtype("f4"), (BUSES, SEGMENT, 2)),  # what goes to the send buses
        ("cue", np.dtype("f4"), (SEGMENT, 2)),  # what is heard on the second output pair
        ("stem_out", np.dtype("f4"), (DECKS * STEMS, SEGMENT, 2)),  # stems whose tap is on
        ("cue_line", np.dtype("f4"), (DELAY_FRAMES, 2)),
        ("cue_out", np.dtype("f4"), (TAP_MARGIN, 2)),  # the block's cue bus, for the device
        ("curves", np.dtype("f4"), (BANDS, SEGMENT, LANES)),  # gains of the EQ bands
        ("gain", np.dtype("f4"), (2, SEGMENT)),
        ("speed", np.dtype("f8"), (2, SEGMENT)),  # tempo factor; tape frames a frame of the voice
        ("places", np.dtype("f8"), (SEGMENT + 1,)),  # on the tape, of a synced voice
        ("fade", np.dtype("f4"), (2, SEGMENT)),  # the crossfader's gain, left and right side
        ("fade_curves", np.dtype("f8"), (1 + CURVES, SEGMENT)),  # its position, its curve's weights
        ("sides", np.dtype("f4"), (2, SEGMENT)),  # how far a deck is assigned to its sides
        # Tape frames a frame, without and with a nudge; share of keylock; pitch ratio.
        ("pitches", np.dtype("f8"), (4, SEGMENT)),
        ("ideals", np.dtype("f8"), (2, SEGMENT + 1)),  # where the beat wants the head: whole, rest
        ("fades", np.dtype("f4"), (2, TAPE)),  # what comes and what goes in a splice
        ("wave", np.dtype("f4"), (2, WAVE)),  # two stretches of a stem mix that are compared
        ("scan", np.dtype("f4"), (2, WAVE // 8)),  # the same, eight frames in one
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
        ("peak_taps", np.dtype("f4"), (PEAK_TAPS, LANES)),  # tap by tap, a phase in each lane
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
        ("chains", np.dtype("i4"), (CHAINS,)),  # first instance of each, -1 none
        ("effects", EFFECT, (EFFECTS,)),
        ("beat", np.dtype("f8"), (2, SEGMENT)),  # of the clock, and beats a frame
        ("effect_values", np.dtype("f4"), (ROWS, SEGMENT)),
        ("effect_scratch", np.dtype("f4"), (7, SEGMENT)),
        ("effect_registers", np.dtype("f8"), (EFFECTS, REGISTERS)),
        ("effect_memory", np.dtype("f4"), (EFFECTS, MEMORY)),
        ("grids", GRID, (GRIDS,)),
        ("taps", TAP, (TAPS,)),
        ("tap_rings", np.dtype("f4"), (TAPS, TAP_FRAMES, 2)),
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


def frames_per_page_shift(fmt: int, channels: int) -> int:
    """Binary logarithm of the frames that one page holds in this format."""
    frame_bytes = channels * (2 if fmt == INT16 else 4)
    return (PAGE_BYTES // frame_bytes).bit_length() - 1
