"""The records of the block: what each holds, in which type and unit."""

from __future__ import annotations

import numpy as np

from crowdstream.desk.constants import GRID_POINTS, HISTOGRAM, LANES, PAIRS, STEMS, TAPE_PAIRS
from crowdstream.desk.opcodes import CAUSES


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

# Which engine may render. Its number is written by itself or, when it is dead, by the next one.
LEASE = _record(
    ("owner", "i8"),  # number of the engine that renders, 0 none
    ("pid", "i8"),  # of its process
    ("thread", "i8"),  # of the thread that renders, 0 while it has not begun
    ("wanted", "i8"),  # number of the engine that it is asked to hand over to, 0 none
    ("closing", "i8"),  # 1: the server ends, nobody takes over
    ("takeovers", "i8"),  # times an engine went on where another one had stopped
    ("gap_ns", "i8"),  # of the latest: from the last block asked for to the first one of the new
    ("silence_ns", "i8"),  # at the latest change of the buffer size
    # Frames that the one who hands over renders beforehand and still plays: the stream of the other
    # one may take longer to be heard.
    ("ahead", "i8"),
)

# A turn is rendered as a whole or not at all; see engine/undo_log.py.
UNDO_LOG = _record(
    ("state", "i8"),  # one of WORK_*
    ("off", "i8"),  # 1: nothing is kept, because nobody is going to go on
    ("entries", "i8"),  # pieces of memory kept
    ("words", "i8"),  # and how many words of four bytes they have together
    ("frame", "i8"),  # what is to be published at the end of the turn
    ("epoch", "i8"),
    ("command_tail", "i8"),
    ("event_head", "i8"),
)

# What the loader is busy with, for whoever has to find out what it died of. Written by it alone.
LOADER = _record(
    ("busy", "i8"),  # number of the track whose file it is opening or reading, 0 none
    ("source", "i8"),  # the stem of it
    ("since_ns", "i8"),  # monotonic time at which it began to
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
    ("synced", "i4"),  # its place is a function of the clock: see engine/voice/playhead.py
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
    # The head that sounds with keylock; see engine/voice/keylock.py.
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
