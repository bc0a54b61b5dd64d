"""Voices: playheads that start, stop, jump and sound onto their deck."""

from __future__ import annotations

from crowdstream.desk.layout import (
    ENDING,
    EV_ENDED,
    EV_STARTED,
    FREE,
    HISTORY,
    PLAYING,
    RAMP_VOICE,
    SLOTS,
    STEMS,
    VOICE_ENVELOPE,
    VOICE_GAIN,
    VOICE_PITCH,
    VOICE_RATE,
    VOICE_ROWS,
    VOICE_SPIN,
    VOICE_STEM,
    VOICES,
)
from crowdstream.engine import views
from crowdstream.engine.events import push_event
from crowdstream.engine.jit import kernel
from crowdstream.engine.ramps import fill_ramp, set_ramp
from crowdstream.engine.resample import (
    bank_for,
    bank_taps,
    choose_run,
    interpolate,
    rate_at,
    walk,
)
from crowdstream.engine.tape import feed, file_position, preroll

FADE_OUT = 256  # frames of a stop, or of what is left behind by a jump: 5.8 ms
FADE_IN = 64  # frames of a start inside a file: 1.5 ms, which keeps an attack
TAIL = 1408  # tape frames after the end: the last step, of any size, is exactly zero by then


@kernel
def _leave_ghost(address, slot):
    # Let what sounds now fade out in a slot of its own.
    all_voices = views.voices(address)
    if all_voices[slot].state == FREE:
        return
    ramps = views.ramps(address)
    past = views.history(address)
    for ghost in range(VOICES, SLOTS):
        if all_voices[ghost].state == FREE:
            all_voices[ghost] = all_voices[slot]
            left, right = RAMP_VOICE + VOICE_ROWS * ghost, RAMP_VOICE + VOICE_ROWS * slot
            for i in range(VOICE_ROWS):
                ramps[left + i] = ramps[right + i]
            for channel in range(2):
                for i in range(HISTORY):
                    past[ghost, channel, i] = past[slot, channel, i]
            all_voices[ghost].state = ENDING
            set_ramp(ramps[RAMP_VOICE + VOICE_ROWS * ghost + VOICE_ENVELOPE], 0.0, FADE_OUT)
            return
    views.ledger(address)[0].hard_cuts += 1


@kernel
def _begin(address, slot, start):
    # Put the playhead at file frame `start`, with an empty past.
    voice = views.voices(address)[slot]
    voice.cursor = start
    voice.fed = 0
    voice.play = 0
    voice.fraction = 0.0
    voice.ended = -1
    voice.wraps = 0
    voice.wrap_at = 0
    voice.wrap_length = 0
    voice.loop_rest = 0.0
    voice.position = start
    voice.bank_left = 0
    voice.offset[0] = 0.0
    voice.offset[1] = 0.0
    for stem in range(STEMS):
        voice.hole[stem] = 0
        voice.last[stem, 0] = 0.0
        voice.last[stem, 1] = 0.0
    past = views.history(address)[slot]
    for channel in range(2):
        for i in range(HISTORY):
            past[channel, i] = 0.0
    preroll(address, slot)
    envelope = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_ENVELOPE]
    # The beginning of a file is played as it was made; anywhere else it is faded in.
    set_ramp(envelope, 1.0 if start == 0 else 0.0, 0)
    set_ramp(envelope, 1.0, FADE_IN)


@kernel
def start_voice(address, command, frame):
    """Start (or restart) the voice that `command` describes."""
    slot = command.target
    _leave_ghost(address, slot)
    voice = views.voices(address)[slot]
    voice.state = PLAYING
    voice.deck = command.flags >> 1
    voice.loop = command.flags & 1 if command.loop_out > command.loop_in >= 0 else 0
    voice.stems = min(max(command.index, 0), STEMS)
    voice.direction = 1
    voice.grid = command.grid
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
    set_ramp(ramps[base + VOICE_PITCH], 1.0, 0)
    set_ramp(ramps[base + VOICE_SPIN], 1.0, 0)
    set_ramp(ramps[base + VOICE_RATE], command.x, 0)
    set_ramp(ramps[base + VOICE_GAIN], command.y, 0)
    _begin(address, slot, max(0, command.start))
    voice.bank = bank_for(command.x)
    push_event(address, EV_STARTED, slot, command.serial, frame, command.frame, 0.0)


@kernel
def seek_voice(address, slot, start):
    """Jump to file frame `start`: what sounded fades out while the new place fades in."""
    voice = views.voices(address)[slot]
    if voice.state == PLAYING:
        _leave_ghost(address, slot)
        _begin(address, slot, max(0, start))


@kernel
def stop_voice(address, slot):
    """Fade the voice out; its slot is free when it is silent."""
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
def _sound_run(address, slot, moving, at, count, gains):
    # The frames from `at` on that go through the same filters; their number.
    voice = views.voices(address)[slot]
    speed = views.speed(address)
    count = choose_run(voice, speed, moving, at, count)
    lane = 2 * voice.deck
    plain = voice.bank == 0 and voice.bank_left == 0 and voice.fraction == 0.0
    if plain and not moving and rate_at(speed, at) == 1.0:
        base = HISTORY + voice.play - voice.fed
        feed(address, slot, max(0, voice.play + count - voice.fed))
        tape = views.tape(address)
        lanes = views.lanes(address)
        for i in range(count):
            lanes[at + i, lane] += tape[0, base + i] * gains[at + i]
            lanes[at + i, lane + 1] += tape[1, base + i] * gains[at + i]
        voice.play += count
        return count
    steps = views.steps(address)
    whole, fraction = walk(
        voice.fraction, speed, moving, at, count, steps, views.fractions(address)
    )
    half = bank_taps(voice.bank) // 2
    if voice.bank_left > 0:
        half = max(half, bank_taps(voice.old_bank) // 2)
    base = HISTORY + voice.play - voice.fed
    feed(address, slot, max(0, voice.play + steps[count - 1] + half + 1 - voice.fed))
    interpolate(address, voice, base, at, count, gains, lane)
    voice.play += whole
    voice.fraction = fraction
    return count


@kernel
def sound_voice(address, slot, count, frame, tempo_moving):
    """Add the voice's next `count` frames to its deck's lanes and move its playhead."""
    voice = views.voices(address)[slot]
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    moving = fill_ramp(ramps[base + VOICE_RATE], views.speed(address)[1], count) or tempo_moving
    gain = views.gain(address)
    fill_ramp(ramps[base + VOICE_GAIN], gain[0], count)
    fill_ramp(ramps[base + VOICE_ENVELOPE], gain[1], count)
    gains = gain[0]
    for i in range(count):
        gains[i] *= gain[1, i]
    done = 0
    while done < count:
        done += _sound_run(address, slot, moving, done, count, gains)

    voice.position = max(0, min(file_position(voice, voice.play), voice.length))

    envelope = ramps[base + VOICE_ENVELOPE]
    if voice.state == ENDING and envelope.left == 0:
        _release(address, slot, frame + count, 1.0)
    elif voice.ended >= 0 and voice.play >= voice.ended + TAIL:
        _release(address, slot, frame + count, 0.0)
