"""Codes used in the block: commands, events, states and formats."""

from __future__ import annotations

# Sample formats of a source.
INT16, FLOAT32 = 0, 1

# Voice states.
FREE, PLAYING, ENDING = 0, 1, 2

# Work of an engine: idle, rendering a turn, or publishing the results of a turn.
WORK_IDLE, WORK_RENDERS, WORK_PUBLISHES = 0, 1, 2

# Command codes.
OP_NONE = 0  # a command that was cancelled while it was pending
OP_RAMP = 1  # index: ramp; x: target; y: frames
OP_START = 2  # target: voice; the whole setup is in the command
OP_STOP = 3  # target: voice
OP_SEEK = 4  # target: voice; start: source frame
OP_TONE = 5  # x: hertz; y: linear gain; start: frames
OP_STOP_ALL = 6
OP_MARK = 7  # answered by an event with the frame at which it was reached
OP_CANCEL = 8  # target: voice; drops earlier starts and jumps that are still pending
# The clock from its frame on. start: that frame (also when the command is late); x: beat there; y:
# beats per frame there; z: beats per frame at the end; loop_out: frames from y to z.
OP_CLOCK = 9
OP_SYNC = 10  # target: voice; index: on; x: its beats per beat of the clock; y: quantum, beats
OP_LOOP = 11  # target: voice; index: one of LOOP_*
OP_JUMP = 12  # target: voice; index: 0 by y file frames, 1 by y beats of its grid
OP_SLIP = 13  # target: voice; index: on
OP_REVERSE = 14  # target: voice; index: on
OP_SPIN = 15  # target: voice; x: target speed, 1 is normal; y: frames; index: 1 stop then
OP_GRID = 16  # target: voice; index: its new beat grid, -1 none
OP_KEYLOCK = 17  # target: voice; index: on
OP_SETTLE = 18  # internal to the engine: a platter has come to rest or reached its speed
# target: chain; index: instance to insert, -1 none; start: the instance it follows, -1 the
# beginning; end: instance to remove, -1 none.
OP_EFFECT = 32
OP_EFFECT_MOVE = 33  # index: instance; start: the instance it will follow, -1 the beginning
OP_LOOKAHEAD = 40  # x: the limiter's look-ahead in frames, 0 for none
OP_QUALITY = 41  # index: the load-shedding level to hold, -1: it follows the load
# target: input; index: on; x: level that opens it, y: level that closes it, z: gain of the music
# while it is open, all linear; start: attack, loop_in: hold, loop_out: release, in frames.
OP_TALKOVER = 42

# Actions of OP_LOOP.
LOOP_EXIT = 0  # plays on past the loop's end
LOOP_SET = 1  # loop_in, loop_out: file frames; z: its exact length in frames; x: in beats or 0
LOOP_HERE = 2  # from here, x beats; y: quantum in beats that the start snaps to, 0 none
LOOP_SCALE = 3  # multiply the length by x, keep the start
LOOP_MOVE = 4  # by x beats
LOOP_IN = 5  # set the start here; y as in LOOP_HERE
LOOP_OUT = 6  # set the end here and activate the loop; y as in LOOP_HERE
LOOP_AGAIN = 7  # back into the loop that was left

# Event codes.
EV_STARTED = 1
EV_ENDED = 2  # value: 0 end reached, 1 stopped, 2 cancelled before it began
EV_LATE = 3  # value: lateness in frames
EV_REFUSED = 4  # value: one of REFUSED_*
EV_MARK = 5
EV_EFFECT_FREE = 16  # target: instance of an effect that is silent and unlinked
EV_QUALITY = 17  # target: new load-shedding level; value: one of BY_* (desk/load_shedding.py)

# Reasons for refusing a command.
REFUSED_FULL = 0  # the table of pending commands was full
REFUSED_LOOP = 1  # the loop would not fit the track
REFUSED_GRID = 2  # the track has no beat grid

# Crossfader curves.
CURVE_ADDITIVE, CURVE_POWER, CURVE_CUT = 0, 1, 2

# Meters that are requested.
METERS_MIX, METERS_STEMS = 1, 2

# State of the stream before a block is rendered: normal, the device reports an underflow, an engine
# has taken over from one that stopped, the device was lost, the block size changes with this block.
FLAG_NONE, FLAG_UNDERFLOW, FLAG_TAKEN, FLAG_LOST, FLAG_RESIZED = range(5)

# What is in an input's ring: nothing, a device's frames on its own clock, or a file's on the mix's.
CAPTURE_NONE, CAPTURE_DEVICE, CAPTURE_FILE = range(3)

# Causes of a gap.
CAUSE_CALLBACK, CAUSE_RENDER, CAUSE_DEVICE, CAUSE_PAGE, CAUSE_ENGINE, CAUSE_LOST = range(6)
CAUSE_RESIZED = 6
CAUSES = (
    "late_callback", "slow_render", "device", "missing_page", "engine", "device_lost", "resized",
)  # fmt: skip
