"""Keylock: change a voice's tempo without its pitch, or its pitch without its tempo.

Such a voice has two heads. The *ideal* head is the voice as all other modules see it: it obeys
tempo, sync, loops and jumps, and lays no tape. The *audible* head reads its tape at the pitch
ratio (at 1 the tape is copied, bit for bit), and `splice_planner` splices it such that it stays
close to the ideal one. The voice's own fields belong to the ideal head and the `lock_...` fields
to the audible one; the two sets are swapped while tape is laid and read.

With keylock off and pitch 0 both heads move alike, and are merged into one.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import HISTORY, MAX_RATE, TAPE_PAIRS
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_KEYLOCK, VOICE_PITCH, VOICE_ROWS
from crowdstream.engine.dsp.ramps import fill_ramp, set_ramp
from crowdstream.engine.dsp.resample import bank_taps, choose_run, end_run
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.load_shedding import first_bank, sheds_keylock
from crowdstream.engine.voice.splice_planner import DECISION_FRAMES, decide
from crowdstream.engine.voice.stem_routing import render_pairs
from crowdstream.engine.voice.sync import split
from crowdstream.engine.voice.tape import feed, file_position, skim

GLIDE_FRAMES = 2205  # frames of the pitch glide when keylock is switched: 50 ms
# frames: positions that differ by less are the same, with an error of -80 dB at worst
POSITION_TOLERANCE = 1e-4
STANDSTILL_RATE = 1e-6  # a tape read slower than this is at a standstill
MIN_RATIO, MAX_RATIO = 0.05, 20.0


@kernel
def _swap(voice):
    # Swap the fields of the two heads.
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
    """Reduce the voice to one head, at a start or a jump."""
    voice.locked = 0
    voice.fade_left = 0
    voice.splice_at = -1
    voice.nudge = 0.0


@kernel
def _engage(voice):
    # Create the second head at the position of the first, on the tape laid so far.
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
    # Merge: the audible head, now in place, becomes the only one from tape frame `whole` on.
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
    """Turn a voice's keylock on or off."""
    voice = views.voices(address)[slot]
    voice.keylock = 1 if on else 0
    follow_keylock(address, slot)


@kernel
def follow_keylock(address, slot):
    """Glide the pitch to its target after keylock was switched, or shed under overload.

    A voice whose keylock is shed remains marked and gets it back afterwards.
    """
    voice = views.voices(address)[slot]
    share = 1.0 if voice.keylock and not sheds_keylock(address) else 0.0
    row = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_KEYLOCK]
    if row.target != share:
        set_ramp(row, share, GLIDE_FRAMES if voice.fed > 0 else 0)


@kernel
def needs_keylock(address, slot):
    """Return whether a voice's pitch differs from the one implied by its speed.

    Always False in reverse, which has no keylock.
    """
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    share = ramps[base + VOICE_KEYLOCK]
    pitch = ramps[base + VOICE_PITCH]
    if views.voices(address)[slot].direction < 0:
        return False
    return share.left > 0 or share.value != 0.0 or pitch.left > 0 or pitch.value != 1.0


@kernel
def prepare(address, slot, count, spinning):
    """Compute pitch and ideal position of the next `count` frames; return True if the pitch moves.

    Creates the second head if there is none.

    Requires `speed[1]` and, for a synced voice, `places`; while the platter is spinning up or
    down, also its speed in `gain[1]`.
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
    # The file position, with its fraction, that is due at frame `at`. The heads are swapped.
    _swap(voice)
    whole = int(views.ideals(address)[0, at])
    skim(voice, whole - voice.fed)
    place = file_position(voice, whole) + views.ideals(address)[1, at]
    _swap(voice)
    return place


@kernel
def _nudge(address, slot, at, off, settled):
    # Read the tape slightly faster or slower until the head is on a whole frame, from where the
    # tape is copied, or, with keylock off, exactly at its ideal position. Returns True once it is
    # there.
    voice = views.voices(address)[slot]
    pitches = views.pitches(address)
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    voice.nudge = 0.0
    if pitches[2, at] == 1.0 and pitches[0, at] == 1.0:
        near = voice.fraction - math.floor(voice.fraction + 0.5)
        if abs(near) > POSITION_TOLERANCE:
            voice.nudge = -near / DECISION_FRAMES
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
    if abs(off) > POSITION_TOLERANCE:
        voice.nudge = -off / DECISION_FRAMES
        return False
    return True


@kernel
def _plan_splice(address, slot, at):
    # Lay the tape up to the next decision, and decide.
    voice = views.voices(address)[slot]
    feed(address, slot, max(0, voice.decide_at - voice.fed))
    place = _ideal_place(address, voice, at)
    rate = views.speed(address)[1, at]
    pitch = views.pitches(address)[0, at]
    ratio = 1.0
    if pitch > STANDSTILL_RATE and rate != pitch:
        ratio = min(max(rate / pitch, MIN_RATIO), MAX_RATIO)
    waiting = voice.fed - voice.play - voice.fraction
    settled, off = decide(address, voice, place + ratio * waiting, ratio)
    if _nudge(address, slot, at, off, settled):
        ideals = views.ideals(address)
        _merge(voice, int(ideals[0, at]), ideals[1, at])


@kernel
def _walk(voice, rates, at, count, half, steps, fractions):
    # As `walk`, but stop at the frame that needs tape beyond the next decision. Returns the number
    # of frames and the playhead after them.
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
    # Copy the tape unchanged up to the next decision; return the number of frames.
    count = min(count, voice.decide_at - voice.play - half)
    if count <= 0:
        return 0
    base = HISTORY + voice.play - voice.fed
    pairs = feed(address, slot, max(0, voice.play + count + half - voice.fed))
    render_pairs(address, slot, pairs, True, base, at, count, gains)
    voice.play += count
    return count


@kernel
def _run(address, slot, at, count, moving, gains):
    # Render the frames from `at` on up to the next decision; return their number, 0 after a
    # decision.
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
            _plan_splice(address, slot, at)
        return done
    steps = views.steps(address)
    fractions = views.fractions(address)
    count, whole, fraction = _walk(voice, rates, at, count, half, steps, fractions)
    if count == 0:
        _plan_splice(address, slot, at)
        return 0
    base = HISTORY + voice.play - voice.fed
    pairs = feed(address, slot, max(0, voice.play + steps[count - 1] + half + 1 - voice.fed))
    render_pairs(address, slot, pairs, False, base, at, count, gains)
    end_run(voice, count)
    voice.play += whole
    voice.fraction = fraction
    return count


@kernel
def render_keylocked(address, slot, at, count, moving, gains):
    """Render up to `count` frames from `at` on with two heads; return their number.

    It is smaller than `count` if the heads have merged; the rest is then rendered without keylock.
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
