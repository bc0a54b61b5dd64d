"""Plan the splices of a voice with keylock: when and how far the audible head jumps.

The tape is laid at the file's speed, while the *ideal* position, demanded by the beat, moves
faster or slower. Now and then the head is crossfaded to a position `lag` frames away where the
sound is similar. Three rules decide when and how far:

1. An attack sounds exactly when it is due. The splice before it reduces the deviation to zero at
   the attack; it stays clear of the attack, and neither repeats nor skips one.
2. Between attacks, the head is spliced once its deviation reaches LIMIT, to where the signals
   differ least; position and lag are searched jointly. The head ends up on the other side of the
   ideal position.
3. Once speed and pitch agree again, one last splice reduces the deviation to zero.

The whole file is in memory, so the planner can look ahead without adding latency.
"""

from __future__ import annotations

import math

from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.voice.splice_search import (
    MAX_DIFFERENCE,
    NEVER,
    STEP,
    find_least_difference,
    gather,
    last_attack,
    next_attack,
    refine,
)
from crowdstream.engine.voice.tape import lap_frames, next_boundary

DECISION_FRAMES = 128  # tape frames between decisions: 2.9 ms
LONG_FADE = 1024  # frames of a splice's crossfade where there is room: 23 ms
SHORT_FADE = 128  # frames of the shortest crossfade: 2.9 ms
CLEAR_BEFORE = 66  # frames before an attack that are kept free of splices: 1.5 ms
CLEAR_AFTER = 220  # the same after an attack: 5 ms
BODY = 882  # frames after an attack that are not repeated between attacks: 20 ms
LIMIT = 400  # frames of deviation that trigger a splice: 9 ms
SPREAD = 1150  # frames between the shortest and the longest lag tried: 26 ms
REACH = 1600  # frames of the longest lag of a splice before an attack: 36 ms
HORIZON = 4096  # tape frames of look-ahead for attacks: 93 ms
WINDOW = 2048  # frames of the search window for a splice before an attack: 46 ms
AHEAD = 1536  # frames of the search window for any other splice: 35 ms
DEVIATION_TOLERANCE = 2.0  # frames of deviation at an attack that are tolerated: 0.05 ms
TOO_FAR = 2205  # frames of deviation that are worse than a lost attack: 50 ms
# frames of deviation at which the head jumps to the ideal position at once: 0.2 s
JUMP_DEVIATION = 8820
JUMP_FADE = 256  # frames of that jump's crossfade
ATTACK_RANGE = 6000  # frames around the head in which attacks are considered


@kernel
def deviation(voice, place, ideal):
    """Return how many frames `place` is ahead of `ideal`, the short way round a loop."""
    off = place - ideal
    length = lap_frames(voice)
    if voice.loop and place >= voice.loop_in and ideal >= voice.loop_in:
        off -= length * math.floor(off / length + 0.5)
    return off


@kernel
def _schedule(voice, after, lag, target, fade, alike):
    voice.splice_at = voice.fed + after
    voice.splice_lag = lag
    voice.splice_target = target
    voice.splice_fade = fade
    voice.splice_alike = alike


@kernel
def _splice(voice):
    # The head jumps now; its old position fades out.
    voice.cursor += voice.splice_lag
    voice.fade_lag = voice.splice_lag
    voice.fade_length = voice.splice_fade
    voice.fade_left = voice.splice_fade
    voice.fade_alike = voice.splice_alike
    voice.splice_at = -1
    voice.splices += 1


@kernel
def _plan_attack_splice(address, voice, lag, clear, due, attack, sounded):
    # Plan the splice that aligns an attack with its due time; return False if there is no room.
    # `due`: tape frames until then; `clear`: how many of these to keep free of splices.
    first = max(0, sounded + CLEAR_AFTER - voice.cursor - min(0, lag))
    first = max(first, -voice.cursor - lag)  # not before the beginning of the file
    room = int(min(due, float(attack - voice.cursor))) - clear
    fade = LONG_FADE
    while fade > SHORT_FADE and room - fade < first + fade // 2:
        fade //= 2
    last = room - fade
    if last < first:
        return False
    first = max(first, last - WINDOW)
    span = (last - first) // STEP
    gather(address, voice, voice.cursor + first, span * STEP + fade, 0)
    gather(address, voice, voice.cursor + first + lag, span * STEP + fade, 1)
    _, step = find_least_difference(address, 0, 0, span, fade // STEP, 1.0, MAX_DIFFERENCE)
    step = max(0, step)
    _, alike = refine(address, step * STEP, step * STEP, 0, fade)
    _schedule(voice, first + step * STEP, lag, attack, fade, alike)
    return True


@kernel
def _plan_free_splice(address, voice, off, drift, attack, sounded):
    # Plan a splice to the most similar position on the other side of the ideal one.
    speed = abs(drift)
    fade = LONG_FADE
    room = attack - voice.cursor - CLEAR_BEFORE - DECISION_FRAMES
    while fade > SHORT_FADE and (speed * fade > 640.0 or fade > room):
        fade //= 2
    ahead = min(float(AHEAD), 600.0 / max(speed, 1e-3))
    shortest = int(0.75 * abs(off) + speed * (fade + 0.5 * ahead))
    shortest = max(shortest, 2 * STEP)
    here = voice.cursor
    last = min(int(ahead), attack - here - CLEAR_BEFORE - fade)
    if last < 0:
        return
    last //= STEP
    lags = SPREAD // STEP
    back = off > 0.0 if abs(off) >= LIMIT else drift > 0.0
    # The first step at which both heads are clear of the last attack.
    first = max(0, (sounded + CLEAR_AFTER - here + STEP - 1) // STEP)
    nearest = here - shortest - (lags - 1) * STEP if back else here + shortest
    if back and sounded + BODY + shortest > here + last * STEP:
        return
    if not back and here + shortest + first * STEP + fade > attack - CLEAR_BEFORE:
        return
    gather(address, voice, here, last * STEP + fade, 0)
    gather(address, voice, nearest, (last + lags) * STEP + fade, 1)
    best = MAX_DIFFERENCE
    chosen = -1
    chosen_lag = 0
    for k in range(lags):
        lag = shortest + k * STEP
        low, high = first, last
        if back:
            low = max(low, (sounded + BODY + lag - here + STEP - 1) // STEP)
            shift = lags - 1 - k
        else:
            high = min(high, (attack - CLEAR_BEFORE - fade - here - lag) // STEP)
            shift = k
        if low > high:
            continue
        best, step = find_least_difference(address, shift, low, high, fade // STEP, 1.0, best)
        if step >= 0:
            chosen = step
            chosen_lag = lag
    if chosen < 0:
        return
    if back:
        chosen_lag = -chosen_lag
    at = chosen * STEP
    exact, alike = refine(address, at, here + at + chosen_lag - nearest, STEP, fade)
    _schedule(voice, at, chosen_lag + exact, -1, fade, alike)


@kernel
def _still_fits(voice, due, clear):
    # Whether a splice planned for an attack still fits after a possible change of speed.
    room = min(due, float(voice.splice_target - voice.cursor)) - clear
    return room >= voice.splice_fade and abs(voice.splice_lag) <= 2 * REACH


@kernel
def _has_left_loop(voice):
    # Whether the head is past the end of a loop in which the ideal one is: that end was set just
    # ahead of the ideal head. The fields of the two are swapped.
    end = voice.loop_in + lap_frames(voice)
    return voice.loop == 1 and voice.lock_cursor <= end < voice.cursor


@kernel
def _return_to_loop(voice, off):
    # Jump to the ideal position, by whole laps back so that it is inside the loop.
    lag = -math.floor(off + 0.5)
    lap = lap_frames(voice)
    past = voice.cursor + lag - voice.loop_in
    if past >= lap:
        lag -= past // lap * lap
    _schedule(voice, 0, max(lag, -voice.cursor), -1, JUMP_FADE, 0.0)
    _splice(voice)


@kernel
def decide(address, voice, ideal, ratio):
    """Decide whether to splice the voice's head at the tape frame that is laid next.

    `ideal`: the file position (may be fractional) that is due at this tape frame. `ratio`: file
    frames by which it advances per tape frame. Sets `decide_at`, the tape frame before which the
    next decision is due. Returns whether the head is in place and stays there by itself, and its
    deviation in frames.
    """
    fed = voice.fed
    voice.decide_at = fed + DECISION_FRAMES
    here = voice.cursor
    off = deviation(voice, here, ideal)
    if voice.ended >= 0:
        return False, off
    if voice.fade_left > 0:
        voice.decide_at = fed + min(DECISION_FRAMES, voice.fade_left)
        return False, off
    if _has_left_loop(voice):
        _return_to_loop(voice, off)
        return False, off
    if voice.splice_at > fed and abs(off) < JUMP_DEVIATION:
        voice.decide_at = voice.splice_at
        return False, off
    if abs(off) >= JUMP_DEVIATION:
        _schedule(voice, 0, -math.floor(off + 0.5), -1, JUMP_FADE, 0.0)
        voice.splice_lag = max(voice.splice_lag, -here)
        _splice(voice)
        voice.decide_at = fed + DECISION_FRAMES
        return False, off
    ideal = here - off
    drift = 1.0 - ratio
    if voice.splice_at == fed:
        target = voice.splice_target
        if target < 0:
            _splice(voice)
            return False, off
        due = (target - ideal) / ratio
        voice.splice_lag = math.floor(target - here - due + 0.5)
        if drift == 0.0 or _still_fits(voice, due, CLEAR_BEFORE):
            _splice(voice)
            return False, off
    voice.splice_at = -1
    if drift == 0.0 and abs(off) < 0.75:
        return True, off
    attack = min(next_attack(address, voice, here, ATTACK_RANGE), max(here, next_boundary(voice)))
    sounded = max(last_attack(address, voice, here, ATTACK_RANGE), -BODY)
    if voice.loop and voice.wraps > 0 and here >= voice.loop_in:
        sounded = max(sounded, voice.loop_in)
    due = (attack - ideal) / ratio
    clear = CLEAR_BEFORE
    soon = drift == 0.0 and due > HORIZON
    if soon:  # no attack to wait for: splice at the next suitable position
        attack = here + HORIZON
        due = attack - ideal
        clear = 0
    waiting = False
    pressed = False
    # A head that is ahead reaches the attack before it is due.
    if soon or due <= HORIZON or attack - here <= HORIZON:
        exact = attack - here - due
        if abs(exact) <= (0.75 if drift == 0.0 else DEVIATION_TOLERANCE):
            return False, off
        if abs(exact) <= REACH:
            lag = math.floor(exact + 0.5)
            waiting = due > 0.0
            _plan_attack_splice(address, voice, lag, clear, due, attack, sounded)
        elif exact < 0.0:
            pressed = attack - here < LONG_FADE + CLEAR_BEFORE + 2 * DECISION_FRAMES
    outward = off * drift > 0.0 or abs(off) >= TOO_FAR
    if abs(off) >= TOO_FAR:
        attack = NEVER  # attacks so dense and speed so high that one has to be skipped
        sounded = -BODY
        waiting = False
    if voice.splice_at < 0 and not waiting and (pressed or (abs(off) >= LIMIT and outward)):
        _plan_free_splice(address, voice, off, drift, attack, sounded)
    if voice.splice_at == fed:
        _splice(voice)
    elif voice.splice_at > fed:
        voice.decide_at = voice.splice_at
    return False, off
