"""Keylock: a voice whose tempo moves while its pitch stays, or the other way round.

Such a voice has two heads. The *ideal* one is what the voice is for everyone else: it obeys
tempo, sync, loops and jumps, and lays no tape. The other one sounds: its tape is read at the
pitch ratio (1: copied, bit for bit), and `engine/voice/splice_planner.py` splices it so that it
stays at
the ideal one. The voice's own fields are the ideal head's; `lock_...` are the other's, and the
two change places while tape is laid and read.

With keylock off and pitch 0 both run alike: then the heads become one again.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import HISTORY, MAX_RATE, TAPE_PAIRS
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_KEYLOCK, VOICE_PITCH, VOICE_ROWS
from crowdstream.engine.dsp.ramps import fill_ramp, set_ramp
from crowdstream.engine.dsp.resample import bank_taps, choose_run, end_run
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.load_shedding import first_bank, gives_up_keylock
from crowdstream.engine.voice.splice_planner import EVERY, decide
from crowdstream.engine.voice.stem_routing import sound_pairs
from crowdstream.engine.voice.sync import split
from crowdstream.engine.voice.tape import feed, file_position, skim

GLIDE = 2205  # frames in which the pitch goes over when keylock is switched: 50 ms
SAME = 1e-4  # frames by which two places may differ and still be one: -80 dB at worst
STANDS = 1e-6  # a tape read slower than this stands still
MIN_RATIO, MAX_RATIO = 0.05, 20.0


@kernel
def _swap(voice):
    # The heads change places.
    cursor, fed, play, fraction = voice.cursor, voice.fed, voice.play, voice.fraction
    ended, wraps, wrap_at = voice.ended, voice.wraps, voice.wrap_at
    length, rest = voice.wrap_length, voice.loop_rest
    voice.cursor, voice.lock_cursor = voice.lock_cursor, cursor
    voice.fed, voice.lock_fed = voice.lock_fed, fed
    voice.play, voice.lock_play = voice.lock_play, play
    voice.fraction, voice.lock_fraction = voice.lock_fraction, fraction
    voice.ended, voice.lock_ended = voice.lock_ended, ended
    voice.wraps, voice.lock_wraps = voice.lock_wraps, wraps
    voice.wrap_at, voice.lock_wrap_at = voice.lock_wrap_at, wrap_at
    voice.wrap_length, voice.lock_wrap_length = voice.lock_wrap_length, length
    voice.loop_rest, voice.lock_loop_rest = voice.lock_loop_rest, rest


@kernel
def unlock(voice):
    """The voice has one head: at a start, or when it jumps."""
    voice.locked = 0
    voice.fade_left = 0
    voice.splice_at = -1
    voice.nudge = 0.0


@kernel
def _engage(voice):
    # A second head beside the first, on the tape that is laid already.
    unlock(voice)
    voice.locked = 1
    voice.lock_cursor = voice.cursor
    voice.lock_fed = voice.fed
    voice.lock_play = voice.play
    voice.lock_fraction = voice.fraction
    voice.lock_ended = voice.ended
    voice.lock_wraps = voice.wraps
    voice.lock_wrap_at = voice.wrap_at
    voice.lock_wrap_length = voice.wrap_length
    voice.lock_loop_rest = voice.loop_rest
    voice.decide_at = voice.fed
    voice.splices = 0


@kernel
def _merge(voice, whole, fraction):
    # The sounding head, which is in place, is the voice's only one from tape frame `whole` on.
    by = whole - voice.play
    voice.fed += by
    voice.wrap_at += by
    for pair in range(TAPE_PAIRS):
        voice.pair_until[pair] += by
    if voice.ended >= 0:
        voice.ended += by
    voice.loop_rest = voice.lock_loop_rest
    voice.play = whole
    voice.fraction = fraction
    unlock(voice)


@kernel
def switch_keylock(address, slot, on):
    """Keep the pitch of a voice from now on, or let it go with the tempo again."""
    voice = views.voices(address)[slot]
    voice.keylock = 1 if on else 0
    follow_keylock(address, slot)


@kernel
def follow_keylock(address, slot):
    """Let the pitch go over to what it should be: keylock was switched, or is given up for now.

    A voice that is to have it keeps that mark, and gets it back.
    """
    voice = views.voices(address)[slot]
    share = 1.0 if voice.keylock and not gives_up_keylock(address) else 0.0
    row = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_KEYLOCK]
    if row.target != share:
        set_ramp(row, share, GLIDE if voice.fed > 0 else 0)


@kernel
def wants_lock(address, slot):
    """Whether a voice's pitch is not simply that of its speed. Going backward it always is."""
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    share = ramps[base + VOICE_KEYLOCK]
    pitch = ramps[base + VOICE_PITCH]
    if views.voices(address)[slot].direction < 0:
        return False
    return share.left > 0 or share.value != 0.0 or pitch.left > 0 or pitch.value != 1.0


@kernel
def prepare(address, slot, count, spinning):
    """Work out pitch and ideal place of the next `count` frames; True when the pitch changes.

    Makes the second head.

    `speed[1]` and, for a synced voice, `places` must be filled; while a hand is on the platter
    also `gain[1]`, with its speed.
    """
    voice = views.voices(address)[slot]
    if not voice.locked:
        _engage(voice)
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    pitches = views.pitches(address)
    rates = views.speed(address)[1]
    ideals = views.ideals(address)
    fill_ramp(ramps[base + VOICE_KEYLOCK], pitches[2], count)
    fill_ramp(ramps[base + VOICE_PITCH], pitches[3], count)
    platter = views.gain(address)[1]
    moving = False
    for i in range(count):
        share = pitches[2, i]
        own = 1.0
        if spinning:
            own = float(platter[i])
        value = own if share == 1.0 else rates[i] + share * (own - rates[i])
        pitches[0, i] = min(value * pitches[3, i], MAX_RATE)
        moving = moving or pitches[0, i] != pitches[0, 0]
    if voice.synced:
        places = views.places(address)
        for i in range(count + 1):
            whole, fraction = split(places[i])
            ideals[0, i] = max(whole, voice.play)
            ideals[1, i] = fraction
        return moving
    place = voice.play
    fraction = voice.fraction
    for i in range(count):
        ideals[0, i] = place
        ideals[1, i] = fraction
        fraction += rates[i]
        whole = int(fraction)
        place += whole
        fraction -= whole
    ideals[0, count] = place
    ideals[1, count] = fraction
    return moving


@kernel
def _ideal_place(address, voice, at):
    # The file frame, with its fraction, that should sound at frame `at`. Heads are swapped.
    _swap(voice)
    whole = int(views.ideals(address)[0, at])
    skim(voice, whole - voice.fed)
    place = file_position(voice, whole) + views.ideals(address)[1, at]
    _swap(voice)
    return place


@kernel
def _nudge(address, slot, at, off, settled):
    # Read the tape a little faster or slower until the head stands on a whole frame, where the
    # tape is copied; or, with keylock off, exactly where it should. True when it does so.
    voice = views.voices(address)[slot]
    pitches = views.pitches(address)
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    voice.nudge = 0.0
    if pitches[2, at] == 1.0 and pitches[0, at] == 1.0:
        near = voice.fraction - math.floor(voice.fraction + 0.5)
        if abs(near) > SAME:
            voice.nudge = -near / EVERY
        else:
            voice.play += math.floor(voice.fraction + 0.5)
            voice.fraction = 0.0
        return False
    if not settled or ramps[base + VOICE_KEYLOCK].target != 0.0:
        return False
    if ramps[base + VOICE_PITCH].target != 1.0:
        return False
    if pitches[2, at] != 0.0 or pitches[3, at] != 1.0:
        return False
    if abs(off) > SAME:
        voice.nudge = -off / EVERY
        return False
    return True


@kernel
def _ask(address, slot, at):
    # Lay the tape up to where a decision is due, and decide.
    voice = views.voices(address)[slot]
    feed(address, slot, max(0, voice.decide_at - voice.fed))
    place = _ideal_place(address, voice, at)
    rate = views.speed(address)[1, at]
    pitch = views.pitches(address)[0, at]
    ratio = 1.0
    if pitch > STANDS and rate != pitch:
        ratio = min(max(rate / pitch, MIN_RATIO), MAX_RATIO)
    waiting = voice.fed - voice.play - voice.fraction
    settled, off = decide(address, voice, place + ratio * waiting, ratio)
    if _nudge(address, slot, at, off, settled):
        ideals = views.ideals(address)
        _merge(voice, int(ideals[0, at]), ideals[1, at])


@kernel
def _walk(voice, rates, at, count, half, steps, fractions):
    # As `walk`, up to the frame that needs tape behind the next decision. Frames, and the
    # playhead after them.
    room = voice.decide_at - voice.play - half - 1
    play = 0
    fraction = voice.fraction
    for i in range(count):
        if play > room:
            return i, play, fraction
        steps[i] = play
        fractions[i] = fraction
        fraction += rates[at + i]
        whole = int(fraction)
        play += whole
        fraction -= whole
    return count, play, fraction


@kernel
def _copy(address, slot, voice, at, count, half, gains):
    # The tape as it is, frame by frame, up to the next decision; how many.
    count = min(count, voice.decide_at - voice.play - half)
    if count <= 0:
        return 0
    base = HISTORY + voice.play - voice.fed
    pairs = feed(address, slot, max(0, voice.play + count + half - voice.fed))
    sound_pairs(address, slot, pairs, True, base, at, count, gains)
    voice.play += count
    return count


@kernel
def _run(address, slot, at, count, moving, gains):
    # Sound the frames from `at` on up to the next decision; how many, 0 after a decision.
    voice = views.voices(address)[slot]
    pitches = views.pitches(address)
    row = 0
    if voice.nudge != 0.0:
        row = 1
        for i in range(at, at + count):
            pitches[1, i] = pitches[0, i] + voice.nudge
    rates = pitches[row]
    count = choose_run(voice, first_bank(address), rates, moving, at, at + count)
    half = bank_taps(voice.bank) // 2
    if voice.bank_left > 0:
        half = max(half, bank_taps(voice.old_bank) // 2)
    if not moving and rates[at] == 1.0 and voice.fraction == 0.0 and voice.bank_left == 0:
        done = _copy(address, slot, voice, at, count, half, gains)
        if done == 0:
            _ask(address, slot, at)
        return done
    steps = views.steps(address)
    fractions = views.fractions(address)
    count, whole, fraction = _walk(voice, rates, at, count, half, steps, fractions)
    if count == 0:
        _ask(address, slot, at)
        return 0
    base = HISTORY + voice.play - voice.fed
    pairs = feed(address, slot, max(0, voice.play + steps[count - 1] + half + 1 - voice.fed))
    sound_pairs(address, slot, pairs, False, base, at, count, gains)
    end_run(voice, count)
    voice.play += whole
    voice.fraction = fraction
    return count


@kernel
def sound_locked(address, slot, at, count, moving, gains):
    """Sound frames from `at` on, at most `count`, with two heads; how many it were.

    Fewer when the heads have become one: then the rest is sounded without keylock.
    """
    voice = views.voices(address)[slot]
    done = 0
    _swap(voice)
    while done < count and voice.locked:
        done += _run(address, slot, at + done, count - done, moving, gains)
    if not voice.locked:
        return done
    _swap(voice)
    ideals = views.ideals(address)
    whole = int(ideals[0, at + count])
    skim(voice, whole - voice.fed)
    voice.play = whole
    voice.fraction = ideals[1, at + count]
    return done
