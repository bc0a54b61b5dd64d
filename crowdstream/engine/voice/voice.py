"""Voices: start, stop and reposition playheads, and mix their sound into their deck.

All times are counted in frames at the engine's sample rate; positions in a file are counted in
frames at the file's own rate. Kernels run in the audio callback and take the desk's base address.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import (
    BANKS,
    DECKS,
    GRIDS,
    HISTORY,
    MAX_RATE,
    MIN_RATE,
    SLOTS,
    STEMS,
    VOICES,
)
from crowdstream.desk.opcodes import ENDING, EV_ENDED, EV_STARTED, FREE, PLAYING
from crowdstream.desk.ramps import (
    RAMP_VOICE,
    VOICE_ENVELOPE,
    VOICE_GAIN,
    VOICE_KEYLOCK,
    VOICE_PITCH,
    VOICE_RATE,
    VOICE_ROWS,
    VOICE_SPIN,
    VOICE_STEM,
)
from crowdstream.engine.dsp.ramps import fill_ramp, set_ramp
from crowdstream.engine.dsp.resample import bank_for, bank_taps, choose_run, end_run, walk
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.events import push_event
from crowdstream.engine.schedule.load_shedding import first_bank
from crowdstream.engine.voice.keylock import (
    follow_keylock,
    needs_keylock,
    prepare,
    render_keylocked,
    unlock,
)
from crowdstream.engine.voice.stem_eq import reset_filters, ring_frames
from crowdstream.engine.voice.stem_routing import render_pairs, reset_sends
from crowdstream.engine.voice.sync import fill_positions, measure_loop, split
from crowdstream.engine.voice.tape import (
    begin_tape,
    copy_tape,
    feed,
    file_position,
    joining,
    take_back,
)

FADE_OUT = 256  # frames of the fade-out at a stop, and of the old position after a jump: 5.8 ms
# frames of the fade-in at a start inside a file: 1.5 ms, short enough to keep an attack
FADE_IN = 64
FULL_LEVEL_SPEED = 0.1  # platter speed (1 is normal) below which the level falls with the speed
TAIL = 1408  # tape frames after the end: by then a decaying step of any size is exactly zero


@kernel
def unsync_voice(address, slot):
    """Detach a synced voice from the clock; it keeps its current speed."""
    voice = views.voices(address)[slot]
    if voice.synced:
        voice.synced = 0
        rate = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_RATE]
        set_ramp(rate, voice.sync_rate, 0)


@kernel
def _leave_ghost(address, slot, frames):
    # Copy the sounding voice to a free ghost slot, where it fades out over `frames` frames. A
    # voice that has not produced sound yet needs no ghost.
    all_voices = views.voices(address)
    if all_voices[slot].state == FREE or all_voices[slot].fed == 0:
        return
    ramps = views.ramps(address)
    for ghost in range(VOICES, SLOTS):
        if all_voices[ghost].state == FREE:
            all_voices[ghost] = all_voices[slot]
            left, right = RAMP_VOICE + VOICE_ROWS * ghost, RAMP_VOICE + VOICE_ROWS * slot
            for i in range(VOICE_ROWS):
                ramps[left + i] = ramps[right + i]
            copy_tape(address, ghost, slot)
            all_voices[ghost].state = ENDING
            # The ghost must not depend on the voice, whatever happens to that.
            unsync_voice(address, ghost)
            set_ramp(ramps[left + VOICE_ENVELOPE], 0.0, frames)
            return
    views.ledger(address)[0].hard_cuts += 1


@kernel
def _begin(address, slot, start, fade):
    # Put the playhead at file frame `start`, with an empty history.
    voice = views.voices(address)[slot]
    voice.position = start
    voice.bank_left = 0
    unlock(voice)
    begin_tape(address, slot, start)
    envelope = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_ENVELOPE]
    # The beginning of a file plays unaltered; a start anywhere else fades in.
    set_ramp(envelope, 1.0 if start == 0 else 0.0, 0)
    set_ramp(envelope, 1.0, fade)


@kernel
def start_voice(address, command, frame):
    """Start or restart the voice described by `command` (`OP_START`).

    `frame` is the engine frame at which it starts; `EV_STARTED` reports it.
    """
    slot = command.target
    _leave_ghost(address, slot, FADE_OUT)
    voice = views.voices(address)[slot]
    voice.state = PLAYING
    voice.deck = command.flags >> 1
    voice.loop = command.flags & 1 if command.loop_out > command.loop_in >= 0 else 0
    voice.stems = min(max(command.index, 0), STEMS)
    voice.direction = 1
    voice.grid = command.grid if command.grid < GRIDS else -1
    voice.synced = 0
    voice.sync_rate = command.x
    voice.keylock = 0
    voice.slip = 0
    voice.resync = 0
    voice.spin_stop = 0
    voice.mark_in = -1.0
    voice.serial = command.serial
    voice.loop_in = command.loop_in
    voice.loop_out = command.loop_out
    voice.loop_exact = command.z
    voice.end = command.end
    voice.length = 0
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    for stem in range(voice.stems):
        voice.sources[stem] = command.sources[stem]
        voice.length = max(voice.length, views.sources(address)[command.sources[stem]].frames)
        set_ramp(ramps[base + VOICE_STEM + stem], command.gains[stem], 0)
    reset_filters(address, slot)
    reset_sends(address, slot)
    set_ramp(ramps[base + VOICE_PITCH], 1.0, 0)
    set_ramp(ramps[base + VOICE_SPIN], 1.0, 0)
    set_ramp(ramps[base + VOICE_KEYLOCK], 0.0, 0)
    set_ramp(ramps[base + VOICE_RATE], command.x, 0)
    set_ramp(ramps[base + VOICE_GAIN], command.y, 0)
    _begin(address, slot, max(0, command.start), FADE_IN)
    measure_loop(address, voice)
    voice.bank = first_bank(address) + bank_for(command.x)
    push_event(address, EV_STARTED, slot, command.serial, frame, command.frame, 0.0)


@kernel
def relocate_voice(address, slot, place):
    """Jump to `place`, a file position in frames (may be fractional), in either direction.

    The old position fades out in a ghost slot while the new one fades in. When both may play the
    same sound, the two fades are equally long.
    """
    voice = views.voices(address)[slot]
    if voice.state != PLAYING:
        return
    place = min(max(0.0, place), float(voice.length))
    _leave_ghost(address, slot, FADE_OUT)
    if voice.direction > 0:
        start = math.floor(place)
        _begin(address, slot, start, FADE_IN)
        voice.fraction = place - start
    else:
        start = math.ceil(place)
        _begin(address, slot, start, FADE_IN)
        voice.fraction = start - place


@kernel
def take_back_ahead(address, slot):
    """Discard the tape ahead of the playhead so that it is fed again; return False if impossible.

    A loop that is set or left thereby takes effect at the playhead. Frames that have passed a
    stem's filters can't be taken back, nor can the end of a lap that is crossfaded into the next
    one.
    """
    voice = views.voices(address)[slot]
    ahead = voice.fed - voice.play
    if voice.locked:  # the tape belongs to the audible head, which follows by itself
        if ahead > 0:
            voice.cursor = file_position(voice, voice.play)
            voice.fed = voice.play
            voice.wrap_at = min(voice.wrap_at, voice.fed)
        return True
    if ring_frames(address, slot) > 0 or joining(voice) or voice.play < voice.wrap_at:
        return False
    if 0 < ahead < HISTORY:
        take_back(address, slot, ahead)
    return True


@kernel
def stop_voice(address, slot):
    """Fade the voice out; its slot becomes free when it is silent."""
    voice = views.voices(address)[slot]
    if voice.state == PLAYING:
        voice.state = ENDING
        envelope = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_ENVELOPE]
        set_ramp(envelope, 0.0, FADE_OUT)


@kernel
def _release(address, slot, frame, stopped):
    voice = views.voices(address)[slot]
    voice.state = FREE
    if slot < VOICES:
        push_event(address, EV_ENDED, slot, voice.serial, frame, 0, stopped)


@kernel
def _fill_rates(address, slot, count, tempo_moving):
    # Speed of an unsynced voice, in tape frames per output frame: its rate times the tempo factor
    # (which samples and announcements do not follow) times the platter's speed.
    ramps = views.ramps(address)
    speed = views.speed(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    moving = fill_ramp(ramps[base + VOICE_RATE], speed[1], count)
    voice = views.voices(address)[slot]
    if voice.deck < DECKS:
        moving = moving or tempo_moving
        for i in range(count):
            speed[1, i] *= speed[0, i]
    for i in range(count):
        speed[1, i] = min(max(speed[1, i], MIN_RATE), MAX_RATE)
    if voice.slip:
        # The slip position is where the voice would be without loops, jumps, reverse and platter.
        for i in range(count):
            voice.slip_place += speed[1, i]
    spin = ramps[base + VOICE_SPIN]
    if spin.left == 0 and spin.value == 1.0:
        return moving
    gain = views.gain(address)
    fill_ramp(spin, gain[1], count)
    for i in range(count):
        speed[1, i] *= gain[1, i]
        # A record that barely turns is barely audible.
        gain[0, i] *= min(1.0, gain[1, i] / FULL_LEVEL_SPEED)
    return True


@kernel
def _steps(address, voice, moving, at, count):
    # The playhead's offset from its first position, at each frame of a run.
    steps = views.steps(address)
    fractions = views.fractions(address)
    if not voice.synced:
        speed = views.speed(address)[1]
        return walk(voice.fraction, speed, moving, at, count, steps, fractions)
    places = views.places(address)
    for i in range(count):
        whole, fraction = split(places[at + i])
        steps[i] = max(0, whole - voice.play)
        fractions[i] = fraction
    whole, fraction = split(places[at + count])
    return max(0, whole - voice.play), fraction


@kernel
def _render_run(address, slot, moving, at, count, gains):
    # Render the frames from `at` on that share one choice of filter banks; return their number.
    voice = views.voices(address)[slot]
    rates = views.speed(address)[1]
    count = choose_run(voice, first_bank(address), rates, moving, at, count)
    base = HISTORY + voice.play - voice.fed
    plain = voice.bank % BANKS == 0 and voice.bank_left == 0 and voice.fraction == 0.0
    if plain and not moving and rates[at] == 1.0:
        pairs = feed(address, slot, max(0, voice.play + count - voice.fed))
        render_pairs(address, slot, pairs, True, base, at, count, gains)
        voice.play += count
        return count
    whole, fraction = _steps(address, voice, moving, at, count)
    half = bank_taps(voice.bank) // 2
    if voice.bank_left > 0:
        half = max(half, bank_taps(voice.old_bank) // 2)
    steps = views.steps(address)
    pairs = feed(address, slot, max(0, voice.play + steps[count - 1] + half + 1 - voice.fed))
    render_pairs(address, slot, pairs, False, base, at, count, gains)
    end_run(voice, count)
    voice.play += whole
    voice.fraction = fraction
    return count


@kernel
def render_voice(address, slot, count, frame, tempo_moving):
    """Add the voice's next `count` frames to its deck's lanes and advance its playhead.

    `frame` is the engine frame of the first one. `tempo_moving` is true if the tempo factors in
    `speed[0]` differ from each other.
    """
    voice = views.voices(address)[slot]
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    gain = views.gain(address)
    fill_ramp(ramps[base + VOICE_GAIN], gain[0], count)
    fill_ramp(ramps[base + VOICE_ENVELOPE], gain[1], count)
    gains = gain[0]
    for i in range(count):
        gains[i] *= gain[1, i]
    spin = ramps[base + VOICE_SPIN]
    spinning = not voice.synced and (spin.left > 0 or spin.value != 1.0)
    if voice.synced:
        moving = fill_positions(address, voice, frame, count)
        voice.fraction = split(views.places(address)[0])[1]
        speed = views.speed(address)
        voice.sync_rate = speed[1, count - 1] / speed[0, count - 1]
    else:
        moving = _fill_rates(address, slot, count, tempo_moving)
    follow_keylock(address, slot)
    done = 0
    if voice.locked or needs_keylock(address, slot):
        pitch_moving = prepare(address, slot, count, spinning)
        done = render_keylocked(address, slot, 0, count, pitch_moving, gains)
    while done < count:
        done += _render_run(address, slot, moving, done, count, gains)

    voice.position = max(0, min(file_position(voice, voice.play), voice.length))

    envelope = ramps[base + VOICE_ENVELOPE]
    if voice.state == ENDING and envelope.left == 0:
        _release(address, slot, frame + count, 1.0)
        return
    ended, play = voice.ended, voice.play
    if voice.locked:
        ended, play = voice.lock_ended, voice.lock_play
    if ended >= 0 and play >= ended + TAIL + ring_frames(address, slot):
        _release(address, slot, frame + count, 0.0)
