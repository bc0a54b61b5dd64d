"""Sync: the file position of a synced voice is a function of the clock, so it cannot drift.

    track beat    = ratio * clock beat + offset
    file position = position of that beat in the track's beat grid
    tape position = direction * file position + sync_tape

In reverse, the track's beat falls as the clock's rises. A loop subtracts its length from the
offset at each lap. Nothing is accumulated from frame to frame.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import MAX_RATE
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.beat_clock import beat_at, beat_on_grid, beats_per_frame, grid_at
from crowdstream.engine.voice.tape import file_position

WHOLE_TOLERANCE = 1e-6  # frames: a position this near to a whole frame is that frame
# a rate this near to 1 counts as 1: one frame in six hours, and corrected when reached
UNITY_TOLERANCE = 1e-9


@kernel
def playhead_position(voice):
    """Return the file frame under the playhead, including its fraction."""
    return file_position(voice, voice.play) + voice.direction * voice.fraction


@kernel
def track_beat(address, voice, frame):
    """Return the beat of a synced voice's track that sounds at engine frame `frame`."""
    return voice.direction * voice.sync_ratio * beat_at(address, frame) + voice.sync_offset


@kernel
def loop_frames(voice):
    """Return the exact length of the voice's loop in file frames (may be fractional)."""
    if voice.loop_exact > 0.0:
        return voice.loop_exact
    return float(voice.loop_out - voice.loop_in)


@kernel
def measure_loop(address, voice):
    """Compute the loop's start and length in beats of the voice's grid; 0 without a grid."""
    voice.loop_beats = 0.0
    voice.loop_beat = 0.0
    if voice.grid >= 0:
        voice.loop_beat = beat_on_grid(address, voice.grid, float(voice.loop_in))
        end = voice.loop_in + loop_frames(voice)
        voice.loop_beats = beat_on_grid(address, voice.grid, end) - voice.loop_beat


@kernel
def _lap(voice, beat):
    # Past the loop's end: subtract whole laps from the beat and the offset, and add their frames
    # to the tape position.
    if not voice.loop or voice.loop_beats <= 0.0:
        return beat
    if voice.direction > 0:
        while beat >= voice.loop_beat + voice.loop_beats:
            beat -= voice.loop_beats
            voice.sync_offset -= voice.loop_beats
            voice.sync_tape += loop_frames(voice)
    else:
        while beat < voice.loop_beat:
            beat += voice.loop_beats
            voice.sync_offset += voice.loop_beats
            voice.sync_tape += loop_frames(voice)
    return beat


@kernel
def fill_positions(address, voice, frame, count):
    """Write a synced voice's tape positions at `count + 1` frames to `places`.

    The speed at each of `count` frames, in file frames per output frame, goes to `speed[1]`.
    Returns True if the speed is not constant.
    """
    places = views.places(address)
    speed = views.speed(address)[1]
    moving = False
    stands = voice.play + voice.fraction
    point, at_point, frames, begin, end = 0.0, 0.0, 1.0, 0.0, 0.0
    for i in range(count + 1):
        beat = track_beat(address, voice, frame + i)
        # the frame after the last one belongs to the next segment, and so does its lap
        if i < count:
            beat = _lap(voice, beat)
        if not begin <= beat < end:
            point, at_point, frames, begin, end = grid_at(address, voice.grid, beat)
        place = voice.direction * (at_point + (beat - point) * frames) + voice.sync_tape
        # The tape is sized for `MAX_RATE`; a beat grid may ask for more.
        places[i] = min(max(place, stands), stands + MAX_RATE * i + 0.5)
        if i < count:
            value = voice.sync_ratio * beats_per_frame(address, frame + i) * frames
            speed[i] = 1.0 if abs(value - 1.0) < UNITY_TOLERANCE else min(value, MAX_RATE)
            moving = moving or speed[i] != speed[0]
    return moving


@kernel
def split(place):
    """Split a tape position into a whole frame and a fraction.

    The fraction is 0 if the position is within `WHOLE` of a whole frame.
    """
    whole = math.floor(place)
    fraction = place - whole
    if fraction < WHOLE_TOLERANCE:
        fraction = 0.0
    elif fraction > 1.0 - WHOLE_TOLERANCE:
        whole += 1
        fraction = 0.0
    return whole, fraction
