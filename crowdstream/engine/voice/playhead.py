"""Commands that move a playhead: sync, seek, jump, slip, reverse and platter.

Each takes effect at its own frame, between two segments. A voice whose position changes is
crossfaded there. If only its future changes, the tape ahead of the playhead is taken back.

Loops: set, scale, move, leave and re-enter. A loop that does not fit the track is refused.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import GRIDS
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
    OP_SETTLE,
    PLAYING,
    REFUSED_GRID,
    REFUSED_LOOP,
)
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_ROWS, VOICE_SPIN
from crowdstream.engine.dsp.ramps import set_ramp
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.beat_clock import beat_at, beat_on_grid, frame_on_grid
from crowdstream.engine.schedule.command_heap import schedule_internal
from crowdstream.engine.schedule.events import push_event
from crowdstream.engine.voice.sync import loop_frames, measure_loop, playhead_position, track_beat
from crowdstream.engine.voice.voice import FADE_OUT, relocate_voice, take_back_ahead, unsync_voice

MIN_JUMP = 0.5  # frames: a voice this near to its target does not jump


@kernel
def snap(value, quantum):
    """Return the multiple of `quantum` nearest to `value`; `value` itself for a quantum of 0."""
    return math.floor(value / quantum + 0.5) * quantum if quantum > 0.0 else value


@kernel
def align_phase(address, slot, frame):
    """Put a synced voice in phase with the clock by rounding its offset to its quantum.

    The voice is crossfaded to the new position, unless it is within half a frame of it already.
    """
    voice = views.voices(address)[slot]
    if voice.state != PLAYING or not voice.synced:
        return
    place = playhead_position(voice)
    clock = voice.direction * voice.sync_ratio * beat_at(address, frame)
    offset = beat_on_grid(address, voice.grid, place) - clock
    voice.sync_offset = snap(offset, voice.sync_quantum)
    wanted = frame_on_grid(address, voice.grid, clock + voice.sync_offset)
    if wanted < 0.0:  # before the file's beginning: take the next one
        voice.sync_offset += voice.sync_quantum
        wanted = frame_on_grid(address, voice.grid, clock + voice.sync_offset)
    if abs(wanted - place) > MIN_JUMP:
        relocate_voice(address, slot, wanted)
        place = playhead_position(voice)
    anchor_tape(voice, frame_on_grid(address, voice.grid, clock + voice.sync_offset))


@kernel
def anchor_tape(voice, wanted):
    """Declare that the tape position under the playhead is file frame `wanted` from now on."""
    voice.sync_tape = voice.play + voice.fraction - voice.direction * wanted


@kernel
def _slip_position(address, voice, frame):
    # The file position that a voice in slip mode would have by now.
    if voice.synced:
        beat = voice.sync_ratio * beat_at(address, frame) + voice.slip_offset
        return frame_on_grid(address, voice.grid, beat)
    return voice.slip_place


@kernel
def _move_slip(address, voice, place, frame):
    # Let the slip position be file frame `place`; of a synced voice, the nearest one in phase.
    if not voice.slip:
        return
    voice.slip_place = place
    if voice.synced:
        offset = beat_on_grid(address, voice.grid, place) - voice.sync_ratio * beat_at(
            address, frame
        )
        voice.slip_offset = snap(offset, voice.sync_quantum)


@kernel
def _refuse_gridless(address, command, frame):
    push_event(
        address, EV_REFUSED, command.target, command.serial, frame, command.frame, REFUSED_GRID
    )


@kernel
def sync_voice(address, command, frame):
    """Sync a voice to the clock, or detach it: `OP_SYNC`.

    A voice without a beat grid is refused with `EV_REFUSED`.
    """
    slot = command.target
    voice = views.voices(address)[slot]
    if voice.state != PLAYING:
        return
    place = _slip_position(address, voice, frame)
    if command.index == 0:
        voice.resync = 0
        unsync_voice(address, slot)
        _move_slip(address, voice, place, frame)
        return
    if voice.grid < 0 or not command.x > 0.0:
        _refuse_gridless(address, command, frame)
        return
    voice.sync_ratio = command.x
    voice.sync_quantum = command.y if command.y > 0.0 else 1.0
    if views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_SPIN].value != 1.0:
        voice.resync = 1
        return
    voice.synced = 1
    align_phase(address, slot, frame)
    _move_slip(address, voice, place, frame)


@kernel
def realign_voices(address, before, frame):
    """After a change of the clock, put synced voices back in phase if its beat has jumped.

    `before` is the beat that `frame` would have had without the change.
    """
    if abs(beat_at(address, frame) - before) < 1e-9:
        return
    for slot in range(views.voices(address).shape[0]):
        voice = views.voices(address)[slot]
        if voice.synced:
            align_phase(address, slot, frame)
            beat = voice.sync_ratio * before + voice.slip_offset
            _move_slip(address, voice, frame_on_grid(address, voice.grid, beat), frame)


@kernel
def relay_tape(address, slot, frame):
    """Lay the tape again from the playhead on, before a loop is changed.

    If the tape can't be taken back, the voice jumps to its own position.
    """
    voice = views.voices(address)[slot]
    if take_back_ahead(address, slot):
        return
    place = playhead_position(voice)
    if voice.synced:
        place = frame_on_grid(address, voice.grid, track_beat(address, voice, frame))
    relocate_voice(address, slot, place)
    if voice.synced:
        anchor_tape(voice, place)


@kernel
def seek_voice(address, command, frame):
    """Jump to a file frame (`OP_SEEK`); a synced voice jumps to the nearest position in phase."""
    voice = views.voices(address)[command.target]
    if voice.state == PLAYING:
        relocate_voice(address, command.target, float(command.start))
        align_phase(address, command.target, frame)


@kernel
def jump_voice(address, command, frame):
    """Jump by file frames or by beats of the voice's grid (`OP_JUMP`), moving its loop as well."""
    slot = command.target
    voice = views.voices(address)[slot]
    if voice.state != PLAYING:
        return
    place = playhead_position(voice)
    wanted = place + command.y
    if command.index == 1:
        if voice.grid < 0:
            _refuse_gridless(address, command, frame)
            return
        beat = beat_on_grid(address, voice.grid, place) + command.y
        wanted = frame_on_grid(address, voice.grid, beat)
    if voice.loop and not voice.loop_in <= wanted < voice.loop_out:
        by = math.floor(wanted - place + 0.5)
        first, last = voice.loop_in + by, voice.loop_out + by
        if first >= 0 and last <= voice.length:
            voice.loop_in, voice.loop_out = first, last
            measure_loop(address, voice)
        else:
            voice.loop = 0
    if voice.synced and command.index == 1 and 0.0 <= wanted < voice.length:
        voice.sync_offset += command.y
        relocate_voice(address, slot, wanted)
        anchor_tape(voice, frame_on_grid(address, voice.grid, track_beat(address, voice, frame)))
        return
    relocate_voice(address, slot, wanted)
    align_phase(address, slot, frame)


@kernel
def return_to_slip(address, slot, frame):
    """Return to the slip position, in forward direction."""
    voice = views.voices(address)[slot]
    wanted = _slip_position(address, voice, frame)
    voice.direction = 1
    if voice.synced:
        voice.sync_offset = voice.slip_offset
    relocate_voice(address, slot, wanted)
    if voice.synced:
        anchor_tape(voice, wanted)


@kernel
def slip_voice(address, command, frame):
    """Enter slip mode, or leave it and return to the slip position: `OP_SLIP`."""
    voice = views.voices(address)[command.target]
    if voice.state != PLAYING or voice.slip == command.index:
        return
    if command.index == 1:
        voice.slip = 1
        voice.slip_offset = voice.sync_offset
        voice.slip_place = playhead_position(voice)
        if voice.direction < 0:  # the offset is that of a beat which falls
            _move_slip(address, voice, voice.slip_place, frame)
        return
    voice.slip = 0
    if abs(_slip_position(address, voice, frame) - playhead_position(voice)) > MIN_JUMP:
        voice.loop = 0
        return_to_slip(address, command.target, frame)


@kernel
def reverse_voice(address, command, frame):
    """Play backward from the current position, or forward again: `OP_REVERSE`."""
    slot = command.target
    voice = views.voices(address)[slot]
    direction = -1 if command.index else 1
    if voice.state != PLAYING or voice.direction == direction:
        return
    if direction > 0 and voice.slip:
        return_to_slip(address, slot, frame)
        return
    place = playhead_position(voice)
    voice.direction = direction
    relocate_voice(address, slot, place)
    if not voice.synced:
        return
    if direction > 0:
        align_phase(address, slot, frame)
        return
    clock = voice.sync_ratio * beat_at(address, frame)
    voice.sync_offset = beat_on_grid(address, voice.grid, place) + clock
    anchor_tape(voice, place)


@kernel
def spin_voice(address, command, frame):
    """Brake the platter or let it spin up: `OP_SPIN`.

    `command.x` is the target speed (0 to 1), `command.y` the time in frames. A synced voice is
    detached for the time being, and synced again once the platter is back at full speed.
    """
    slot = command.target
    voice = views.voices(address)[slot]
    if voice.state != PLAYING:
        return
    if voice.synced:
        if voice.slip:
            voice.slip_place = _slip_position(address, voice, frame)
        unsync_voice(address, slot)
        voice.resync = 1
    voice.spin_stop = 1 if command.index == 1 else -1
    frames = max(FADE_OUT, int(command.y))
    set_ramp(views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_SPIN], command.x, frames)
    schedule_internal(address, OP_SETTLE, slot, frame + frames)  # this may overwrite `command`


@kernel
def finish_spin(address, slot, frame):
    """Handle a platter that has come to rest or to full speed: `OP_SETTLE`.

    Returns True if the voice is to be stopped.
    """
    voice = views.voices(address)[slot]
    spin = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_SPIN]
    if voice.state != PLAYING or spin.left > 0:
        return False
    if spin.value == 0.0:
        return voice.spin_stop == 1
    if spin.value == 1.0:
        # Each spin schedules a command. That of an earlier spin may come after the platter has
        # reached its speed, or the voice may have been synced meanwhile: the slip position of a
        # synced voice is not in `slip_place`.
        if voice.slip and voice.spin_stop != 0 and not voice.synced:
            relocate_voice(address, slot, voice.slip_place)
        voice.spin_stop = 0
        if voice.resync:
            voice.resync = 0
            voice.synced = 1
            align_phase(address, slot, frame)
            voice.slip_offset = voice.sync_offset
    return False


@kernel
def grid_voice(address, command, frame):
    """Assign another beat grid to a voice: `OP_GRID`. A negative number removes the grid."""
    voice = views.voices(address)[command.target]
    if voice.state != PLAYING or command.index >= GRIDS:
        return
    place = _slip_position(address, voice, frame)
    if command.index < 0:
        voice.resync = 0
        unsync_voice(address, command.target)
    voice.grid = command.index
    measure_loop(address, voice)
    align_phase(address, command.target, frame)
    _move_slip(address, voice, place, frame)


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
def _set_loop(address, slot, begin, exact, on, frame):
    # Set a loop of `exact` frames from file frame `begin`; return False if the track is too short.
    # `on`: the voice plays it from now on; otherwise its playhead stays where it is.
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
    voice.loop = on
    measure_loop(address, voice)
    if on:
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
    return _set_loop(address, slot, begin, exact, 1, frame)


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
    return _set_loop(address, slot, float(voice.loop_in), exact, voice.loop, frame)


@kernel
def _move_loop(address, slot, beats, frame):
    voice = views.voices(address)[slot]
    if voice.loop_beats <= 0.0:
        return False
    begin = frame_on_grid(address, voice.grid, voice.loop_beat + beats)
    end = frame_on_grid(address, voice.grid, voice.loop_beat + voice.loop_beats + beats)
    if begin < -0.5 or end > voice.length + 0.5:
        return False
    place = playhead_position(voice)
    if voice.loop and not begin - loop_frames(voice) <= place < end:
        wanted = beat_on_grid(address, voice.grid, place) + beats
        relocate_voice(address, slot, frame_on_grid(address, voice.grid, wanted))
        if voice.synced:
            voice.sync_offset += beats
            anchor_tape(
                voice, frame_on_grid(address, voice.grid, track_beat(address, voice, frame))
            )
    return _set_loop(address, slot, begin, end - begin, voice.loop, frame)


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
        done = _set_loop(address, slot, float(command.loop_in), exact, 1, frame)
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
            done = _set_loop(address, slot, voice.mark_in, end - voice.mark_in, 1, frame)
    elif what == LOOP_AGAIN:
        done = _set_loop(address, slot, float(voice.loop_in), loop_frames(voice), 1, frame)
    if not done:
        push_event(address, EV_REFUSED, slot, command.serial, frame, command.frame, REFUSED_LOOP)
