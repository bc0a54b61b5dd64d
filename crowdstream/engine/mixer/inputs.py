"""Live inputs: the frames of another clock, played in the mix without gaps, and talkover.

A capture process writes the frames of an input device to a ring, at the device's own rate. The
engine reads the ring at a fractional position. Two clocks never run at the same rate (100 ppm are
common), so the distance between capture and playhead would grow until the ring is empty or full.
The ratio of the rates is therefore steered by that distance.

The distance is not the number of frames in the ring, which jumps by whole blocks. Both sides
smooth the times of their blocks: the capture process publishes time marks (see
`desk.inputs.SteadyClock`), and the engine keeps the output's clock with the same loop. So at any
time the number of frames captured is known to a fraction of a frame. A proportional-integral
controller keeps the playhead `target` frames behind: its integral is the drift of the clocks. The
method is that of F. Adriaensen, "Controlling adaptive resampling" (Linux Audio Conference 2012).

When the ring runs out of frames, the last sample decays, and the playhead begins again at its
distance, with a fade-in. After a file, which is on the clock of the mix, nothing is resampled.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import INPUT_FRAMES, INPUTS, TAP_MARGIN
from crowdstream.desk.dtypes import CAPTURE
from crowdstream.desk.inputs import (
    JUMP_SECONDS,
    LOOP_DAMPING,
    LOOP_HERTZ,
    PATIENCE_SECONDS,
    START_HERTZ,
    START_SHARE,
)
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import CAPTURE_DEVICE, CAPTURE_FILE
from crowdstream.desk.ramps import (
    RAMP_INPUT_LEVEL,
    RAMP_INPUT_MUTE,
    RAMP_TALKOVER,
)
from crowdstream.engine.dsp.ramps import fill_ramp, set_ramp, step_ramp
from crowdstream.engine.dsp.resample import bank_for, bank_taps, read_tape, walk
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import fence, load_acquire
from crowdstream.engine.jit.compile import kernel

FADE = 256  # frames of a fade-in: 5.8 ms
HOLD = 256  # frames in which the last sample before a gap decays
# Bandwidth of the steering, which becomes slower in the same way as the clocks' loops: what is left
# of the jitter moves the pitch by a few ppm.
STEER_START_HERTZ, STEER_HERTZ = 0.1, 0.02
STEER_SHARE = 0.6  # the bandwidth is this divided by the seconds since the beginning
MAX_DRIFT = 0.001  # relative; 1.7 cents, several times that of the worst crystal
# A distance that is wrong by more than this is not steered, which would take minutes: the playhead
# begins again at the right one.
RELOCK_SECONDS = 0.02
# Beyond what the blocks of both devices need: for callbacks that are late.
MARGIN_SECONDS = 0.004
MAX_MARGIN_SECONDS = 0.2  # after many gaps
STALE_SECONDS = 0.5  # a capture without a time mark for so long has stopped
SETTLE_SECONDS = 1.0  # of captured frames before the first is played: the clocks are known by then
READ_ATTEMPTS = 4

TALK_FALL_SECONDS = 0.05  # time constant with which the measured level of a voice falls

_MASK = INPUT_FRAMES - 1
_FIELDS = CAPTURE.fields
assert _FIELDS is not None
_CAPTURES = REGIONS["captures"].offset
_BYTES = CAPTURE.itemsize
_STAMP, _HEAD = _FIELDS["stamp"][1], _FIELDS["head"][1]


@kernel
def any_input(address):
    """Return whether the server has an input."""
    captures = views.captures(address)
    found = False
    for number in range(INPUTS):
        found = found or captures[number].configured != 0
    return found


# The clocks --------------------------------------------------------------------------------


@kernel
def _follow_output(address, frame, now_ns):
    # Smooth the output's clock: `now_ns` is the time at which the block from `frame` on was
    # requested. As `desk.inputs.SteadyClock`, for blocks of any length.
    clock = views.input_clock(address)[0]
    passed = frame - clock.frame
    predicted = clock.ns + passed * clock.period
    error = now_ns - predicted
    seconds = passed * clock.period * 1e-9
    clock.seconds += seconds
    clock.astray = clock.astray + seconds if abs(error) > JUMP_SECONDS * 1e9 else 0.0
    if clock.period == 0.0 or passed <= 0 or clock.astray > PATIENCE_SECONDS:
        if clock.period == 0.0:
            clock.period = 1e9 / views.header(address)[0].sample_rate
        clock.ns = now_ns
        clock.seconds = 0.0
        clock.astray = 0.0
    elif clock.astray > 0.0:
        clock.ns = predicted
    else:
        hertz = min(START_HERTZ, max(LOOP_HERTZ, START_SHARE / clock.seconds))
        step = min(2.0 * math.pi * hertz * seconds, 0.5)
        clock.ns = predicted + LOOP_DAMPING * step * error
        clock.period += step * step * error / passed
    clock.frame = frame


@kernel
def _read_mark(address, number):
    # Take over the capture's latest time mark, unless it is being written all the time.
    stamp_at = address + _CAPTURES + _BYTES * number + _STAMP
    capture = views.captures(address)[number]
    state = views.inputs(address)[number]
    for _attempt in range(READ_ATTEMPTS):
        stamp = load_acquire(stamp_at)
        frame, ns, period = capture.mark_frame, capture.mark_ns, capture.mark_period
        fence()
        if stamp & 1 == 0 and load_acquire(stamp_at) == stamp:
            state.mark_frame, state.mark_ns, state.mark_period = frame, ns, period
            return


@kernel
def _release(state):
    # Stop reading the ring; the last sample decays.
    if state.locked:
        state.locked = 0
        state.held = HOLD


@kernel
def _target(address, capture, ratio, bank, margin):
    # Frames by which the playhead must follow the capture: those that arrive together, those that
    # a block of the output takes at once, and the reach of the interpolator.
    block = views.header(address)[0].block_frames
    reach = bank_taps(bank) // 2 + 1
    return capture.block + block * ratio + reach + MARGIN_SECONDS * capture.rate + margin


@kernel
def _steer(address, number, frame):
    capture = views.captures(address)[number]
    state = views.inputs(address)[number]
    clock = views.input_clock(address)[0]
    rate = views.header(address)[0].sample_rate
    if capture.source != CAPTURE_DEVICE or capture.rate <= 0.0:
        _release(state)
        return
    if state.serial != capture.serial:
        _release(state)
        state.serial = capture.serial
        state.drift = 0.0
        state.margin = 0.0
        state.mark_period = 0.0
    _read_mark(address, number)
    head = load_acquire(address + _CAPTURES + _BYTES * number + _HEAD)
    if state.mark_period <= 0.0 or clock.ns - state.mark_ns > STALE_SECONDS * 1e9:
        _release(state)
        return
    nominal = capture.rate / rate
    captured = state.mark_frame + (clock.ns - state.mark_ns) / state.mark_period
    passed = (frame - state.steered) / rate
    state.steered = frame
    bank = bank_for(nominal)
    state.target = _target(address, capture, nominal, bank, state.margin)
    if not state.locked:
        # The first frames of a stream only serve to learn its clock. A stream that lags behind its
        # clock has stopped, or is about to be declared late.
        enough = max(SETTLE_SECONDS * capture.rate, state.target + bank_taps(bank))
        settled = head >= enough and clock.seconds > SETTLE_SECONDS
        current = captured - head < capture.block + MARGIN_SECONDS * capture.rate + state.margin
        if state.held == 0 and settled and current:
            state.place = int(captured - state.target)
            state.fraction = 0.0
            state.bank = bank
            state.ratio = nominal * (1.0 + state.drift)
            state.behind = captured - state.place
            state.faded = 0
            state.last[0] = 0.0
            state.last[1] = 0.0
            state.seconds = 0.0
            state.locked = 1
            state.locks += 1
        return
    state.behind = captured - state.place - state.fraction
    error = (state.behind - state.target) * state.mark_period * 1e-9
    if abs(error) > RELOCK_SECONDS or state.behind > INPUT_FRAMES - TAP_MARGIN:
        state.gaps += 1
        _release(state)
        return
    state.seconds += passed
    hertz = min(STEER_START_HERTZ, max(STEER_HERTZ, STEER_SHARE / state.seconds))
    omega = 2.0 * math.pi * hertz
    drift = state.drift + omega * omega * error * passed
    change = drift + 2.0 * omega * error
    if abs(change) <= MAX_DRIFT:  # beyond it, the integral would only learn to overshoot
        state.drift = drift
    state.ratio = nominal * (1.0 + min(max(change, -MAX_DRIFT), MAX_DRIFT))


@kernel
def steer_inputs(address, frame):
    """Adapt the inputs to the clocks, if `frame` is the first frame of a block."""
    clock = views.clock(address)[0]
    if not any_input(address) or clock.callback_frame != frame or clock.callback_ns == 0:
        return
    _follow_output(address, frame, float(clock.callback_ns))
    for number in range(INPUTS):
        if views.captures(address)[number].configured:
            _steer(address, number, frame)


# Playing -------------------------------------------------------------------------------------


@kernel
def _copy_file(address, number, frame, count):
    # A file's frames, on the clock of the mix: bit for bit.
    capture = views.captures(address)[number]
    ring = views.input_rings(address)[number]
    lanes = views.input_lanes(address)
    head = load_acquire(address + _CAPTURES + _BYTES * number + _HEAD)
    for i in range(count):
        place = frame + i - capture.origin
        if 0 <= place < head:
            lanes[i, 2 * number] = ring[place & _MASK, 0]
            lanes[i, 2 * number + 1] = ring[place & _MASK, 1]


@kernel
def _available(steps, count, frames):
    # How many of `count` frames have a position below `frames`, relative to the first one.
    while count > 0 and steps[count - 1] >= frames:
        count -= 1
    return count


@kernel
def _play_ring(address, number, count):
    # Interpolate the next `count` frames, or those that the ring holds; returns their number.
    state = views.inputs(address)[number]
    ring = views.input_rings(address)[number]
    lanes = views.input_lanes(address)
    tape = views.tape(address)
    steps = views.steps(address)
    speed = views.speed(address)[0]
    reach = bank_taps(state.bank) // 2
    head = load_acquire(address + _CAPTURES + _BYTES * number + _HEAD)
    for i in range(count):
        speed[i] = state.ratio
    fractions = views.fractions(address)
    moved, fraction = walk(state.fraction, speed, False, 0, count, steps, fractions)
    done = _available(steps, count, head - reach - state.place)
    if done < count:
        if done == 0:
            return 0
        moved, fraction = walk(state.fraction, speed, False, 0, done, steps, fractions)
    first = state.place - reach
    for i in range(steps[done - 1] + 2 * reach + 1):
        tape[0, 0, i] = ring[(first + i) & _MASK, 0]
        tape[0, 1, i] = ring[(first + i) & _MASK, 1]
    read_tape(address, state.bank, 0, reach, done, lanes, 2 * number)
    state.place += moved
    state.fraction = fraction
    for i in range(done):
        if state.faded < FADE:
            state.faded += 1
            share = views.F32(state.faded / FADE)
            lanes[i, 2 * number] *= share
            lanes[i, 2 * number + 1] *= share
    return done


@kernel
def _play_device(address, number, count):
    capture = views.captures(address)[number]
    state = views.inputs(address)[number]
    lanes = views.input_lanes(address)
    done = 0
    if state.locked:
        done = _play_ring(address, number, count)
        if done > 0:
            state.last[0] = lanes[done - 1, 2 * number]
            state.last[1] = lanes[done - 1, 2 * number + 1]
        if done < count:
            state.gaps += 1
            more = state.margin + max(float(capture.block), MARGIN_SECONDS * capture.rate)
            state.margin = min(more, MAX_MARGIN_SECONDS * capture.rate)
            _release(state)
    for i in range(done, count):
        if state.held > 0:
            state.held -= 1
            share = views.F32(state.held / HOLD)
            lanes[i, 2 * number] = state.last[0] * share
            lanes[i, 2 * number + 1] = state.last[1] * share


@kernel
def play_inputs(address, frame, count):
    """Write `count` frames of the inputs, from `frame` of the mix on, to their lanes."""
    captures = views.captures(address)
    lanes = views.input_lanes(address)
    for i in range(count):
        for lane in range(2 * INPUTS):
            lanes[i, lane] = 0.0
    for number in range(INPUTS):
        if captures[number].source == CAPTURE_FILE:
            _copy_file(address, number, frame, count)
        elif captures[number].configured:
            _play_device(address, number, count)


# Levels and talkover -------------------------------------------------------------------------


@kernel
def set_talkover(address, command):
    """Carry out `OP_TALKOVER`. While somebody talks, the music moves to its new gain."""
    state = views.inputs(address)[command.target]
    state.talk_on = command.index
    state.talk_open = command.x
    state.talk_close = command.y
    state.talk_gain = command.z
    state.talk_attack = command.start
    state.talk_hold = command.loop_in
    state.talk_release = command.loop_out
    ramp = views.ramps(address)[RAMP_TALKOVER + command.target]
    if state.talking and not state.talk_on:
        state.talking = 0
        set_ramp(ramp, 1.0, state.talk_release)
    elif state.talking and ramp.target != state.talk_gain:
        set_ramp(ramp, state.talk_gain, state.talk_attack)


@kernel
def _follow_voice(address, number, count):
    # Open and close the talkover by the level of `input_out`; fill in the gain of the music.
    # Returns whether that is not 1 all the time.
    state = views.inputs(address)[number]
    ramp = views.ramps(address)[RAMP_TALKOVER + number]
    if state.talk_on == 0 and ramp.left == 0 and ramp.value == 1.0:
        state.envelope = 0.0
        return False
    sound = views.input_out(address)[number]
    duck = views.ducks(address)[1 + number]
    fall = math.exp(-1.0 / (TALK_FALL_SECONDS * views.header(address)[0].sample_rate))
    envelope = state.envelope
    ducked = False
    for i in range(count):
        loudest = float(max(abs(sound[i, 0]), abs(sound[i, 1])))
        envelope = max(loudest, envelope * fall)
        if state.talking:
            state.quiet = state.quiet + 1 if envelope < state.talk_close else 0
            if state.quiet > state.talk_hold:
                state.talking = 0
                set_ramp(ramp, 1.0, state.talk_release)
        elif state.talk_on and envelope > state.talk_open:
            state.talking = 1
            state.quiet = 0
            set_ramp(ramp, state.talk_gain, state.talk_attack)
        duck[i] = step_ramp(ramp)
        ducked = ducked or duck[i] != 1.0
    state.envelope = envelope
    return ducked


@kernel
def fade_inputs(address, count):
    """Write `count` frames of the inputs after their levels to `input_out`, and follow talkover.

    Fills in the rows of `ducks` that belong to the inputs; returns whether the music is ducked.
    """
    ramps = views.ramps(address)
    lanes = views.input_lanes(address)
    gain = views.gain(address)
    ducks = views.ducks(address)
    ducked = False
    for number in range(INPUTS):
        sound = views.input_out(address)[number]
        fill_ramp(ramps[RAMP_INPUT_LEVEL + number], gain[0], count)
        fill_ramp(ramps[RAMP_INPUT_MUTE + number], gain[1], count)
        for i in range(count):
            level = gain[0, i] * gain[1, i]
            sound[i, 0] = lanes[i, 2 * number] * level
            sound[i, 1] = lanes[i, 2 * number + 1] * level
        if _follow_voice(address, number, count):
            ducked = True
        else:
            for i in range(count):
                ducks[1 + number, i] = 1.0
    return ducked


@kernel
def add_inputs(address, announced, count):
    """Add `count` frames of the inputs to the mix; `announced`: an announcement ducks them."""
    mix = views.mix(address)
    duck = views.ducks(address)[0]
    for number in range(INPUTS):
        sound = views.input_out(address)[number]
        for i in range(count):
            gain = duck[i] if announced else views.F32(1.0)
            mix[i, 0] += sound[i, 0] * gain
            mix[i, 1] += sound[i, 1] * gain
