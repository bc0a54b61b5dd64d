"""What numbers in the block stand for: commands, events, states, formats."""

from __future__ import annotations

# Sample formats of a source.
INT16, FLOAT32 = 0, 1

# Voice states.
FREE, PLAYING, ENDING = 0, 1, 2

# What an engine is doing: nothing, rendering a turn, or telling others that it is done.
WORK_IDLE, WORK_RENDERS, WORK_PUBLISHES = 0, 1, 2

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
OP_SETTLE = 18  # the engine's own, when a platter has come to rest or to speed
# target: chain; index: instance that comes in, -1 none; start: what it stands behind, -1 the
# beginning; end: instance that leaves, -1 none.
OP_EFFECT = 32
OP_EFFECT_MOVE = 33  # index: instance; start: what it is to stand behind, -1 the beginning
OP_LOOKAHEAD = 40  # x: frames that the limiter looks ahead, 0 for none
OP_QUALITY = 41  # index: the level of quality that is held, -1: it follows the load

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
EV_REFUSED = 4  # value: one of REFUSED_*
EV_MARK = 5
EV_EFFECT_FREE = 16  # target: instance of an effect that is silent and out of its chain
EV_QUALITY = 17  # target: level of quality from now on; value: one of BY_* (desk/load_shedding.py)

# Why a command was refused.
REFUSED_FULL = 0  # the table of pending commands was full
REFUSED_LOOP = 1  # the loop would not fit the track
REFUSED_GRID = 2  # the track has no beat grid

# Curves of the crossfader.
CURVE_ADDITIVE, CURVE_POWER, CURVE_CUT = 0, 1, 2

# What is metered.
METERS_MIX, METERS_STEMS = 1, 2

# What is known of a block before it is rendered: nothing, that the device says the last ones came
# late, that the engine before this one stopped, that the device was gone, that the blocks have
# another size from now on.
FLAG_NONE, FLAG_UNDERFLOW, FLAG_TAKEN, FLAG_LOST, FLAG_RESIZED = range(5)

# Causes of a gap.
CAUSE_CALLBACK, CAUSE_RENDER, CAUSE_DEVICE, CAUSE_PAGE, CAUSE_ENGINE, CAUSE_LOST = range(6)
CAUSE_RESIZED = 6
CAUSES = (
    "late_callback", "slow_render", "device", "missing_page", "engine", "device_lost", "resized",
)  # fmt: skip
