"""Loops: set, scale, move, leave and re-enter. A loop that does not fit the track is refused."""

from __future__ import annotations

import math

from crowdstream.desk.opcodes import (
    EV_REFUSED,
    LOOP_AGAIN,
    LOOP_EXIT,
    LOOP_HERE,
    LOOP_IN,
    LOOP_MOVE,
    LOOP_OUT,
    LOOP_SCALE,
    LOOP_SET,
    PLAYING,
    REFUSED_LOOP,
)
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.beat_clock import beat_on_grid, frame_on_grid
from crowdstream.engine.schedule.events import push_event
from crowdstream.engine.voice.playhead import (
    align_phase,
    anchor_tape,
    relay_tape,
    return_to_slip,
    snap,
)
from crowdstream.engine.voice.sync import loop_frames, measure_loop, playhead_position, track_beat
from crowdstream.engine.voice.voice import relocate_voice

MIN_LOOP = 16  # frames: 0.4 ms; anything shorter would be a tone rather than a loop


@kernel
def _into_loop(address, slot, frame):
    # Move a playhead that is past the loop's end back by whole loop lengths, so that it stays in
    # phase.
    voice = views.voices(address)[slot]
    place = playhead_position(voice)
    length = loop_frames(voice)
    laps = 0.0
    if voice.direction > 0 and place >= voice.loop_in + length:
        laps = math.floor((place - voice.loop_in) / length)
    elif voice.direction < 0 and place < voice.loop_in:
        laps = -math.ceil((voice.loop_in - place) / length)
    if laps == 0.0:
        return
    relocate_voice(address, slot, place - laps * length)
    if voice.synced:
        voice.sync_offset -= laps * voice.loop_beats
        anchor_tape(voice, frame_on_grid(address, voice.grid, track_beat(address, voice, frame)))


@kernel
def _set_loop(address, slot, begin, exact, frame):
    # Set a loop of `exact` frames from file frame `begin`; return False if the track is too short.
    voice = views.voices(address)[slot]
    first = math.floor(begin + 0.5)
    last = first + math.floor(exact + 0.5)
    if first < 0 or last > voice.length or not exact >= MIN_LOOP:
        return False
    relay_tape(address, slot, frame)
    voice.loop_in = first
    voice.loop_out = last
    voice.loop_exact = exact
    voice.loop_rest = 0.0
    voice.loop = 1
    measure_loop(address, voice)
    _into_loop(address, slot, frame)
    return True


@kernel
def _loop_from(address, slot, place, beats, quantum, frame):
    voice = views.voices(address)[slot]
    if voice.grid < 0 or not beats > 0.0:
        return False
    beat = snap(beat_on_grid(address, voice.grid, place), quantum)
    begin = frame_on_grid(address, voice.grid, beat)
    exact = frame_on_grid(address, voice.grid, beat + beats) - begin
    return _set_loop(address, slot, begin, exact, frame)


@kernel
def _quantized_position(address, voice, quantum):
    # The playhead's file position, rounded to the quantum (beats) if there is a grid.
    place = playhead_position(voice)
    if voice.grid < 0 or not quantum > 0.0:
        return place
    beat = snap(beat_on_grid(address, voice.grid, place), quantum)
    return frame_on_grid(address, voice.grid, beat)


@kernel
def _scale_loop(address, slot, factor, frame):
    voice = views.voices(address)[slot]
    if voice.loop_beats > 0.0:
        beats = voice.loop_beats * factor
        end = frame_on_grid(address, voice.grid, voice.loop_beat + beats)
        exact = end - frame_on_grid(address, voice.grid, voice.loop_beat)
    else:
        exact = loop_frames(voice) * factor
    was = voice.loop
    done = _set_loop(address, slot, float(voice.loop_in), exact, frame)
    if not was:
        voice.loop = 0
    return done


@kernel
def _move_loop(address, slot, beats, frame):
    voice = views.voices(address)[slot]
    if voice.loop_beats <= 0.0:
        return False
    begin = frame_on_grid(address, voice.grid, voice.loop_beat + beats)
    end = frame_on_grid(address, voice.grid, voice.loop_beat + voice.loop_beats + beats)
    if begin < -0.5 or end > voice.length + 0.5:
        return False
    was = voice.loop
    place = playhead_position(voice)
    if was and not begin - loop_frames(voice) <= place < end:
        wanted = beat_on_grid(address, voice.grid, place) + beats
        relocate_voice(address, slot, frame_on_grid(address, voice.grid, wanted))
        if voice.synced:
            voice.sync_offset += beats
            anchor_tape(
                voice, frame_on_grid(address, voice.grid, track_beat(address, voice, frame))
            )
    done = _set_loop(address, slot, begin, end - begin, frame)
    if not was:
        voice.loop = 0
    return done


@kernel
def _exit_loop(address, slot, frame):
    voice = views.voices(address)[slot]
    if not voice.loop:
        return
    relay_tape(address, slot, frame)
    voice.loop = 0
    if voice.slip:
        return_to_slip(address, slot, frame)
    elif voice.synced:
        align_phase(
            address, slot, frame
        )  # make up for laps that were not a whole number of beats long


@kernel
def loop_voice(address, command, frame):
    """Set, change or leave a loop: `OP_LOOP`.

    A loop that does not fit the track is refused with `EV_REFUSED`.
    """
    slot = command.target
    voice = views.voices(address)[slot]
    if voice.state != PLAYING:
        return
    what = command.index
    done = True
    if what == LOOP_EXIT:
        _exit_loop(address, slot, frame)
    elif what == LOOP_SET:
        exact = command.z if command.z > 0.0 else float(command.loop_out - command.loop_in)
        done = _set_loop(address, slot, float(command.loop_in), exact, frame)
    elif what == LOOP_HERE:
        done = _loop_from(address, slot, playhead_position(voice), command.x, command.y, frame)
    elif what == LOOP_SCALE:
        done = _scale_loop(address, slot, command.x, frame)
    elif what == LOOP_MOVE:
        done = _move_loop(address, slot, command.x, frame)
    elif what == LOOP_IN:
        voice.mark_in = _quantized_position(address, voice, command.y)
    elif what == LOOP_OUT:
        end = _quantized_position(address, voice, command.y)
        done = voice.mark_in >= 0.0 and end > voice.mark_in
        if done:
            done = _set_loop(address, slot, voice.mark_in, end - voice.mark_in, frame)
    elif what == LOOP_AGAIN:
        done = _set_loop(address, slot, float(voice.loop_in), loop_frames(voice), frame)
    if not done:
        push_event(address, EV_REFUSED, slot, command.serial, frame, command.frame, REFUSED_LOOP)
