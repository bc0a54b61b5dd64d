"""A synced voice: its place in the file is a function of the clock, so it cannot drift.

    beat of the track = ratio * beat of the clock + offset
    place in the file = its grid at that beat
    place on the tape = direction * place in the file + sync_tape

Going backward, the track's beat falls as the clock's rises. A loop takes its length off the
offset at each lap. Nothing is added up from frame to frame.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import MAX_RATE
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.beat_clock import beat_at, beat_on_grid, beats_per_frame, grid_at
from crowdstream.engine.voice.tape import file_position

WHOLE = 1e-6  # a place this near to a whole frame is that frame
AS_RECORDED = 1e-9  # a rate this near to 1 is 1: a frame off after six hours, and put right then


@kernel
def file_place(voice):
    """File frame under the playhead, with its fraction."""
    return file_position(voice, voice.play) + voice.direction * voice.fraction


@kernel
def track_beat(address, voice, frame):
    """The beat of a synced voice's track that sounds at a frame."""
    return voice.direction * voice.sync_ratio * beat_at(address, frame) + voice.sync_offset


@kernel
def loop_frames(voice):
    """Exact length of the voice's loop, file frames."""
    if voice.loop_exact > 0.0:
        return voice.loop_exact
    return float(voice.loop_out - voice.loop_in)


@kernel
def measure_loop(address, voice):
    """Work out the loop's length in beats of the voice's grid."""
    voice.loop_beats = 0.0
    voice.loop_beat = 0.0
    if voice.grid >= 0:
        voice.loop_beat = beat_on_grid(address, voice.grid, float(voice.loop_in))
        end = voice.loop_in + loop_frames(voice)
        voice.loop_beats = beat_on_grid(address, voice.grid, end) - voice.loop_beat


@kernel
def _lap(voice, beat):
    # Past the loop's end: what belongs to the lap goes off the beat and onto the tape.
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
def fill_places(address, voice, frame, count):
    """Write where a synced voice stands on the tape at `count + 1` frames to `places`.

    And how fast it moves there, in file frames a frame, to `speed[1]`. True if that changes.
    """
    places = views.places(address)
    speed = views.speed(address)[1]
    moving = False
    stands = voice.play + voice.fraction
    point, at_point, frames, begin, end = 0.0, 0.0, 1.0, 0.0, 0.0
    for i in range(count + 1):
        beat = track_beat(address, voice, frame + i)
        if i < count:  # the lap of the frame behind the last one is the next segment's
            beat = _lap(voice, beat)
        if not begin <= beat < end:
            point, at_point, frames, begin, end = grid_at(address, voice.grid, beat)
        place = voice.direction * (at_point + (beat - point) * frames) + voice.sync_tape
        # The tape is as long as the highest rate needs; a grid may ask for more.
        places[i] = min(max(place, stands), stands + MAX_RATE * i + 0.5)
        if i < count:
            value = voice.sync_ratio * beats_per_frame(address, frame + i) * frames
            speed[i] = 1.0 if abs(value - 1.0) < AS_RECORDED else min(value, MAX_RATE)
            moving = moving or speed[i] != speed[0]
    return moving


@kernel
def split(place):
    """A place on the tape as a whole frame and a fraction, 0 where it is as good as whole."""
    whole = math.floor(place)
    fraction = place - whole
    if fraction < WHOLE:
        fraction = 0.0
    elif fraction > 1.0 - WHOLE:
        whole += 1
        fraction = 0.0
    return whole, fraction
