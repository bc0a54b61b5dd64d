"""Records of the shared block: the type, unit and meaning of each field."""

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

# Each counter of a ring has its own cache line, because two cores write them.
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
    ("frame", "i8"),  # first frame of the next block
    ("epoch", "i8"),  # blocks rendered: once it has advanced by two, no old page is in use
    ("callback_ns", "i8"),  # monotonic time at which the latest block was requested
    ("callback_frame", "i8"),  # first frame of that block
    ("previous_ns", "i8"),
    ("latency", "f8"),  # seconds from render to sound, as reported by the device
    ("stamp", "i8"),  # odd while callback_ns and callback_frame are being written
    # Tempo: from `tempo_frame` on it changes linearly for `tempo_left` frames, then stays.
    ("tempo_frame", "i8"),
    ("tempo_beat", "f8"),  # the beat at that frame
    ("tempo_rate", "f8"),  # beats per frame at that frame
    ("tempo_slope", "f8"),  # change of the rate per frame
    ("tempo_left", "i8"),
    ("tempo_end", "f8"),  # beats per frame after the change
    ("tempo_base", "f8"),  # beats per frame at which an unsynced deck plays at its own rate
)

# The engine that may render. Its number is written by that engine, or, once it is dead, by its
# successor.
LEASE = _record(
    ("owner", "i8"),  # number of the engine that renders, 0 none
    ("pid", "i8"),  # of its process
    ("thread", "i8"),  # of the rendering thread, 0 until it has started
    ("wanted", "i8"),  # number of the engine that requests a handover, 0 none
    ("closing", "i8"),  # 1: the server is shutting down, no engine takes over
    ("takeovers", "i8"),  # times an engine continued after another one had stopped
    ("gap_ns", "i8"),  # of the latest: last request of the old to first block of the new engine
    ("silence_ns", "i8"),  # at the latest change of the buffer size
    # Frames that the outgoing engine renders in advance and still plays: the stream of the incoming
    # engine may take longer to become audible.
    ("ahead", "i8"),
    # Frames after those that both engines play, fading from one stream to the other.
    ("fade", "i8"),
    ("fade_ns", "i8"),  # monotonic time at which the first of these is heard
    ("fade_offset", "i8"),  # its frame in the outgoing engine's block
)

# A turn is rendered completely or not at all; see engine/undo_log.py.
UNDO_LOG = _record(
    ("state", "i8"),  # one of WORK_*
    ("off", "i8"),  # 1: nothing is saved, because no engine would continue
    ("entries", "i8"),  # saved pieces of memory
    ("words", "i8"),  # their total size in words of four bytes
    ("frame", "i8"),  # values to be published at the end of the turn
    ("epoch", "i8"),
    ("command_tail", "i8"),
    ("event_head", "i8"),
)

# The loader's current work, to find out what killed it. Written by the loader alone.
LOADER = _record(
    ("busy", "i8"),  # number of the track whose file it is opening or reading, 0 none
    ("source", "i8"),  # the stem of that track
    ("since_ns", "i8"),  # monotonic time at which that work began
)

RAMP = _record(("value", "f8"), ("step", "f8"), ("target", "f8"), ("left", "i8"))

COMMAND = _record(
    ("frame", "i8"),  # 0: at once
    ("serial", "i8"),
    ("op", "i4"),
    ("target", "i4"),
    ("index", "i4"),
    ("flags", "i4"),
    ("by_beat", "i4"),  # 1: it acts at `beat` of the clock, `frame` is the expected frame
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
    ("deck", "i4"),  # or SAMPLER, ANNOUNCER
    ("stems", "i4"),
    ("loop", "i4"),
    ("direction", "i4"),  # 1 forward, -1 backward
    ("grid", "i4"),  # its beat grid, -1 none
    ("synced", "i4"),  # its position is a function of the clock: see engine/voice/playhead.py
    ("keylock", "i4"),
    ("slip", "i4"),
    ("resync", "i4"),  # it is synced again when the platter has reached its speed
    ("spin_stop", "i4"),  # at rest: 1 it stops, -1 it stays; 0: the platter has its own speed
    ("sync_ratio", "f8"),  # its beats per beat of the clock
    ("sync_offset", "f8"),  # its beat when the clock's is 0
    ("sync_tape", "f8"),  # difference between its position in the file and on the tape
    ("sync_rate", "f8"),  # rate that would keep its current speed if sync were released
    ("sync_quantum", "f8"),  # beats: the offset is a multiple of it
    ("slip_offset", "f8"),  # sync_offset of the position it would have without loops and jumps
    ("slip_place", "f8"),  # that position while it is not synced, file frames
    ("mark_in", "f8"),  # start point set for a loop, file frames, -1 none
    ("loop_beat", "f8"),  # beat of its grid at which the loop begins
    ("loop_beats", "f8"),  # length of the loop in beats of its grid, 0 unknown
    ("serial", "i8"),  # of the command that started it
    ("cursor", "i8"),  # next file frame to be fed to the tape
    ("fed", "i8"),  # frames fed to the tape since the start
    ("play", "i8"),  # tape frame under the playhead
    ("fraction", "f8"),  # distance of the playhead past that frame, 0..1
    ("loop_in", "i8"),
    ("loop_out", "i8"),
    ("loop_exact", "f8"),  # length of the loop, frames; laps are cut to whole frames around it
    ("loop_rest", "f8"),  # how much shorter the laps so far were in total, -0.5 to 0.5
    ("wrap_at", "i8"),  # tape frame of the latest wrap
    ("wrap_length", "i8"),  # file frames by which that wrap went back
    ("end", "i8"),  # file frame at which it ends when it does not loop
    ("length", "i8"),  # frames of its longest stem
    ("ended", "i8"),  # tape frame of the end, -1 until it is reached
    ("position", "i8"),  # file frame under the playhead, for observers
    ("wraps", "i8"),  # laps of the loop completed
    ("bank", "i4"),
    ("old_bank", "i4"),
    ("bank_left", "i4"),  # remaining frames of the crossfade between two banks
    ("offset", "f4", (STEMS, 2)),  # decaying offset that hides a step
    ("pair_until", "i8", (TAPE_PAIRS,)),  # tape frame from which a pair is unused
    # The second playhead, audible with keylock; see engine/voice/keylock.py.
    ("locked", "i4"),  # 1: it exists
    ("splice_fade", "i4"),  # crossfade of the planned splice, frames
    ("fade_length", "i4"),  # of the current crossfade
    ("fade_left", "i4"),
    ("fade_lag", "i8"),  # file frames from the outgoing to the incoming signal
    ("fade_alike", "f8"),  # correlation of the two, 0 to 1
    ("splice_at", "i8"),  # tape frame of the next splice, -1 none
    ("splice_lag", "i8"),  # file frames it jumps by
    ("splice_target", "i8"),  # file frame of the attack that it serves, -1 none
    ("splice_alike", "f8"),
    ("splices", "i8"),  # splices made since the second playhead was created
    ("decide_at", "i8"),  # tape frame before which the next decision is due
    ("nudge", "f8"),  # speed-up of its tape, to arrive at a whole frame
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
    ("page_shift", "i4"),  # frames per page = 1 << page_shift
    ("used", "i4"),
)

# A beat grid: at least two pairs of beat (beat 0 is a downbeat) and file frame, both ascending.
# Linear between the pairs; the first and last intervals extend outwards.
GRID = _record(
    ("count", "i8"), ("beats", "f8", (GRID_POINTS,)), ("frames", "f8", (GRID_POINTS,))
)

# One ring of frames, written by the engine and read by any number of readers. Frame f of the stream
# lies at index f modulo TAP_FRAMES. Readers request it by raising `on` (see `desk.taps`).
TAP = _record(
    ("on", "i8"),
    ("since", "i8"),  # first frame it holds since it was switched on
    ("head", "i8"),  # frame after the latest one; store-release
    ("next", "i8"),  # the same within a block, for the engine alone
)

EQ_USE = _record(
    ("eq_state", "i4"),  # 0 bypassed, 1 in use
    ("eq_warm", "i4"),  # frames that the filters have run since they were switched on
    ("eq_mix", "f8"),  # 0 dry, 1 filtered
    ("eq_flat", "i8"),  # frame of the segment from which all gains are and stay 1
)

DECK = _record(
    ("peak", "f8"),  # largest absolute sample since an observer reset it
)

MASTER = _record(
    ("limit_gain", "f8"),
    ("cue_gain", "f8"),  # of the cue bus's limiter
    ("tone_left", "i8"),
    ("tone_done", "i8"),
    ("tone_step", "f8"),  # radians per frame
    ("tone_phase", "f8"),
    ("tone_gain", "f8"),
    ("peak", "f8"),
    ("pending", "i8"),  # commands in the heap
)

LIMITER = _record(
    ("frame", "i8"),  # input frames so far
    ("lookahead", "i8"),  # frames by which the gain anticipates the signal
    ("delay", "i8"),  # total delay in frames: the look-ahead plus the detector's
    ("reach", "i8"),  # frames back from which a gain is still in force
    ("first_box", "i8"),  # frames of the moving averages
    ("second_box", "i8"),
    ("first_sum", "i8"),
    ("second_sum", "i8"),
    ("oldest", "i8"),  # of the gains below 1 in the look-ahead
    ("newest", "i8"),
    ("held", "f8"),  # gain after the release, before smoothing
)

# What a capture process writes about an input. The counter of frames has its own cache line.
CAPTURE = _record(
    ("configured", "i8"),  # 1: the server has this input; set before anything plays
    ("source", "i8"),  # one of CAPTURE_*
    ("serial", "i8"),  # of the stream: it differs after each start
    ("rate", "f8"),  # nominal sample rate of the device, Hz
    ("block", "i8"),  # frames that arrive at a time
    ("origin", "i8"),  # of a file: frame of the mix at which its first frame is due
    ("overflows", "i8"),  # blocks before which the device lost frames
    ("stamp", "i8"),  # odd while the time mark is being written
    ("mark_frame", "i8"),  # frames captured at `mark_ns`
    ("mark_ns", "f8"),  # monotonic time, smoothed
    ("mark_period", "f8"),  # ns per frame, smoothed
    ("pad", "i8", (5,)),
    ("head", "i8"),  # frames captured; store-release
    ("pad_head", "i8", (7,)),
)

# An input as the engine plays it.
INPUT = _record(
    ("serial", "i8"),  # of the stream that is played
    ("locked", "i8"),  # 1: the ring is being read
    ("bank", "i8"),  # of the interpolator
    ("place", "i8"),  # frame of the ring under the playhead
    ("fraction", "f8"),
    ("ratio", "f8"),  # frames of the ring per frame of the mix
    ("drift", "f8"),  # learnt difference of the clocks, relative: 1e-6 is 1 ppm
    ("target", "f8"),  # frames by which the playhead follows the capture
    ("margin", "f8"),  # of them, frames added because they were missing once
    ("behind", "f8"),  # frames by which it follows now
    ("seconds", "f8"),  # since it began to play
    ("steered", "i8"),  # frame of the mix at which the ratio was last set
    ("mark_frame", "i8"),  # the latest time mark
    ("mark_ns", "f8"),
    ("mark_period", "f8"),
    ("faded", "i8"),  # frames of the fade-in so far
    ("held", "i8"),  # frames left in which the last sample decays
    ("last", "f4", (2,)),  # that sample
    ("gaps", "i8"),  # times it ran out of frames
    ("locks", "i8"),  # times it began to play
    ("talk_on", "i8"),  # talkover: 1 the level is followed
    ("talking", "i8"),  # 1: the music is ducked
    ("talk_open", "f8"),  # level that opens it
    ("talk_close", "f8"),  # level that closes it, after the hold
    ("talk_gain", "f8"),  # of the music
    ("talk_attack", "i8"),  # frames
    ("talk_hold", "i8"),
    ("talk_release", "i8"),
    ("envelope", "f8"),
    ("quiet", "i8"),  # frames for which it has been below the closing level
)

# The output's clock, smoothed: the time at which a block is requested jitters.
INPUT_CLOCK = _record(
    ("frame", "i8"),
    ("ns", "f8"),
    ("period", "f8"),  # ns per frame
    ("seconds", "f8"),  # since it was started
    ("astray", "f8"),  # seconds for which its blocks have been too late to be jitter
)

# The output's rate: by it, a room keeps in step with others. `on` and `wanted` are written by the
# process of the rooms, the rest by the engine. Nothing here is saved by the undo log: a successor
# whose frame does not follow the line begins it again.
STEERING = _record(
    ("on", "i8"),  # 1: the mix is resampled to the device
    ("wanted", "f8"),  # frames of the mix per frame of the device, minus 1; 1e-6 is 1 ppm
    ("engaged", "i8"),  # 0: bit for bit; 1: resampled; 2: the rest of the line is played
    ("rate", "f8"),  # `wanted`, approached gradually
    ("place", "i8"),  # frame of the mix that the device receives next ...
    ("fraction", "f8"),  # ... and the distance past it, 0..1
    ("end", "i8"),  # frame after the last one in the line
    ("filled", "i8"),  # frames that the current pass has added to the line
    ("out", "i8"),  # frames that the device has received
    ("restarts", "i8"),  # times that the line was begun again
    # Written together with the clock's `callback_ns`, under the clock's stamp.
    ("mark_out", "i8"),  # `out` when the latest block was requested
    ("mark_place", "f8"),  # `place` and `fraction` then
)

METERING = _record(
    ("on", "i8"),  # METERS_* that are requested; set by control
    ("hop", "i8"),  # frames per entry of the ring: 10 ms
    ("head", "i8"),  # complete entries; store-release
)

# Four stereo signals that are measured side by side.
METER = _record(
    ("state", "f4", (4, LANES)),  # of the K-weighting
    ("sums", "f4", (3, LANES)),  # of the current hop: peak, squares, K-weighted squares
)

LEDGER = _record(
    ("blocks", "i8"),
    ("frames", "i8"),
    ("gaps", "i8", (len(CAUSES),)),  # underruns by cause
    ("device_flags", "i8"),  # blocks that the device flagged
    ("over_budget", "i8"),  # renders that took longer than the duration of their block
    ("missing_frames", "i8"),  # stem frames that were due but had no page
    ("missing_pages", "i8"),  # times a stem fell silent because a page was missing
    ("late_commands", "i8"),
    ("latest_frames", "i8"),  # largest lateness of a command, frames
    ("commands", "i8"),
    ("pending_refused", "i8"),
    ("events_lost", "i8"),
    ("hard_cuts", "i8"),  # jumps that found no free slot to fade out in
    ("nonfinite", "i8"),  # frames that were NaN, infinite or out of range: silenced
    ("limited_frames", "i8"),
    ("render_max_ns", "i8"),
    ("render_ns", "i8"),
    ("interval_max_ns", "i8"),
    ("guarded", "i8"),  # callbacks that raised and returned silence
    ("realtime", "i8"),  # 1 real-time priority held, -1 refused, 0 not tried
    ("reset_serial", "i8"),  # observers raise it to reset the maxima
    ("reset_seen", "i8"),
    ("render_hist", "i8", (HISTOGRAM,)),
    ("interval_hist", "i8", (HISTOGRAM,)),
    ("gap_count", "i8"),
)

GAP = _record(("frame", "i8"), ("cause", "i8"), ("excess_ns", "i8"), ("time_ns", "i8"))

# Filters of four pairs of lanes, side by side. All zero: unused.
FILTER = _record(
    ("state", "f4", (4, LANES)),
    ("mix", "f8", (PAIRS,)),  # 0 dry, 1 filtered
    ("used", "i4", (PAIRS,)),
)
