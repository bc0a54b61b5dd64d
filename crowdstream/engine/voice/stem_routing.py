"""Route a voice's stems: to the deck, the cue bus, the send buses, and their own recordings.

The voices of sample pads and announcements have a pair of their own in place of a deck.

Each destination is a pair of tracks (left and right) of the voice's tape and is interpolated like
the others. Pairs that are not in use cost nothing, and none of them changes a bit of the deck's
signal.

The cue bus receives a stem after its EQ and filter but before its gain (pre-fader listen). Send
buses and recordings receive it as it enters the deck.
"""

from __future__ import annotations

from crowdstream.desk.constants import (
    BUSES,
    DECKS,
    HISTORY,
    PAIR_BUS,
    PAIR_CUE,
    PAIR_MAIN,
    PAIR_STEM,
    SEGMENT,
    STEM_PAST,
    STEMS,
    TAP_STEM,
    TAPE_PAIRS,
)
from crowdstream.desk.dtypes import TAP
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_PFL, VOICE_ROWS, VOICE_SEND, VOICE_STEM
from crowdstream.engine.dsp.ramps import fill_ramp, set_ramp
from crowdstream.engine.dsp.resample import copy_frames, interpolate
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire
from crowdstream.engine.jit.compile import kernel

_FIELDS = TAP.fields
assert _FIELDS is not None
_ON = REGIONS["taps"].offset + _FIELDS["on"][1]
_TAP_BYTES = TAP.itemsize


@kernel
def _is_open(ramp):
    return ramp.left > 0 or ramp.value != 0.0


@kernel
def _active_pairs(address, slot):
    # Bit mask of the pairs that receive a signal now.
    voice = views.voices(address)[slot]
    ramps = views.ramps(address)
    taps = views.stem_taps(address)
    wanted = 0
    for stem in range(voice.stems):
        base = RAMP_VOICE + VOICE_ROWS * slot + stem
        if _is_open(ramps[base + VOICE_PFL]):
            wanted |= 1 << PAIR_CUE
        if _is_open(ramps[base + VOICE_STEM]):
            wanted |= 1 << PAIR_MAIN
            for bus in range(BUSES):
                if _is_open(ramps[base + VOICE_SEND + STEMS * bus]):
                    wanted |= 1 << (PAIR_BUS + bus)
            if voice.deck < DECKS and taps[STEMS * voice.deck + stem]:
                wanted |= 1 << (PAIR_STEM + stem)
    return wanted


@kernel
def _add(address, stem, pair, gains, count):
    for channel in range(2):
        to = views.tape(address)[pair, channel, HISTORY : HISTORY + count]
        sound = views.stem_tape(address)[stem, channel, STEM_PAST : STEM_PAST + count]
        for i in range(count):
            to[i] += sound[i] * gains[i]


@kernel
def _add_steady(address, stem, pair, gain, count):
    # As `_add`, with a constant gain.
    for channel in range(2):
        to = views.tape(address)[pair, channel, HISTORY : HISTORY + count]
        sound = views.stem_tape(address)[stem, channel, STEM_PAST : STEM_PAST + count]
        for i in range(count):
            to[i] += sound[i] * gain


@kernel
def _mix_stem(address, slot, stem, count):
    voice = views.voices(address)[slot]
    ramps = views.ramps(address)
    weights = views.weights(address)
    gains, other = weights[0], weights[1]
    base = RAMP_VOICE + VOICE_ROWS * slot + stem
    sounds = _is_open(ramps[base + VOICE_STEM])
    if sounds:
        steady = ramps[base + VOICE_STEM].left == 0
        fill_ramp(ramps[base + VOICE_STEM], gains, count)
        if steady:
            _add_steady(address, stem, PAIR_MAIN, gains[0], count)
        else:
            _add(address, stem, PAIR_MAIN, gains, count)
        if voice.deck < DECKS and views.stem_taps(address)[STEMS * voice.deck + stem]:
            _add(address, stem, PAIR_STEM + stem, gains, count)
    for bus in range(BUSES):
        send = ramps[base + VOICE_SEND + STEMS * bus]
        if _is_open(send):
            fill_ramp(send, other, count)
            if sounds:
                for i in range(count):
                    other[i] *= gains[i]
                _add(address, stem, PAIR_BUS + bus, other, count)
    listen = ramps[base + VOICE_PFL]
    if _is_open(listen):
        fill_ramp(listen, other, count)
        _add(address, stem, PAIR_CUE, other, count)


@kernel
def mix_stems(address, slot, count):
    """Mix `count` new frames of the stems into the pairs, after their history.

    Returns a bit mask of the pairs in use. A pair stays in use until its last input has left the
    interpolator's window.
    """
    voice = views.voices(address)[slot]
    tape = views.tape(address)
    history = views.history(address)[slot]
    wanted = _active_pairs(address, slot)
    used = wanted
    for pair in range(TAPE_PAIRS):
        if voice.pair_until[pair] > voice.fed:
            used |= 1 << pair
        elif used >> pair & 1:
            for channel in range(2):
                for i in range(HISTORY):
                    history[pair, channel, i] = 0.0
        if wanted >> pair & 1:
            voice.pair_until[pair] = voice.fed + count + HISTORY
        if used >> pair & 1:
            for channel in range(2):
                for i in range(HISTORY):
                    tape[pair, channel, i] = history[pair, channel, i]
                new = tape[pair, channel, HISTORY : HISTORY + count]
                for i in range(count):
                    new[i] = 0.0
    for stem in range(voice.stems):
        _mix_stem(address, slot, stem, count)
    for pair in range(TAPE_PAIRS):
        if used >> pair & 1:
            for channel in range(2):
                latest = tape[pair, channel, count : count + HISTORY]
                for i in range(HISTORY):
                    history[pair, channel, i] = latest[i]
    return used


@kernel
def _render_pair(address, voice, pair, plain, base, at, count, gains, out, column):
    if plain:
        copy_frames(address, pair, base, at, count, gains, out, column)
    else:
        interpolate(address, voice, pair, base, at, count, gains, out, column)


@kernel
def render_pairs(address, slot, pairs, plain, base, at, count, gains):
    """Add `count` frames of each pair, times `gains`, to its destination from frame `at` on.

    `pairs`: bit mask of those in use. `base`: tape index under the playhead. `plain`: copy the
    frames as they are; otherwise interpolate at the run's steps and fractions, which are the same
    for all pairs, so that stems stay aligned to the sample.
    """
    voice = views.voices(address)[slot]
    if pairs >> PAIR_MAIN & 1:
        out, column = views.lanes(address), 2 * voice.deck
        if voice.deck >= DECKS:
            out, column = views.players(address)[voice.deck - DECKS], 0
        _render_pair(address, voice, PAIR_MAIN, plain, base, at, count, gains, out, column)
    for pair in range(PAIR_MAIN + 1, TAPE_PAIRS):
        if pairs >> pair & 1:
            out = views.cue(address)
            if pair >= PAIR_STEM:
                out = views.stem_out(address)[STEMS * voice.deck + pair - PAIR_STEM]
            elif pair >= PAIR_BUS:
                out = views.bus(address)[pair - PAIR_BUS]
            _render_pair(address, voice, pair, plain, base, at, count, gains, out, 0)


@kernel
def clear_pairs(address, slot):
    """Mark all pairs of a voice's tape as empty."""
    voice = views.voices(address)[slot]
    for pair in range(TAPE_PAIRS):
        voice.pair_until[pair] = 0


@kernel
def in_use(voice, pair):
    """Return whether a voice's tape holds sound in this pair.

    With keylock, two heads read the tape, and the audible one may have been fed less or more than
    the other.
    """
    fed = min(voice.fed, voice.lock_fed) if voice.locked else voice.fed
    return voice.pair_until[pair] > fed


@kernel
def copy_pairs(address, target, slot):
    """Copy the history of a voice's pairs to those of slot `target`."""
    voice = views.voices(address)[slot]
    history = views.history(address)
    for pair in range(TAPE_PAIRS):
        if in_use(voice, pair):
            for channel in range(2):
                for i in range(HISTORY):
                    history[target, pair, channel, i] = history[slot, pair, channel, i]


@kernel
def shift_pairs(address, slot, count):
    """Remove the latest `count` frames from the history of the pairs."""
    history = views.history(address)[slot]
    for pair in range(TAPE_PAIRS):
        for channel in range(2):
            for i in range(HISTORY - 1, -1, -1):
                here = history[pair, channel, i - count] if i >= count else views.F32(0.0)
                history[pair, channel, i] = here


@kernel
def reset_sends(address, slot):
    """Turn off all cue and bus sends of the stems of a voice that starts."""
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    for row in range(base + VOICE_PFL, base + VOICE_SEND + STEMS * BUSES):
        set_ramp(ramps[row], 0.0, 0)


@kernel
def clear_outputs(address, count):
    """Silence what voices add to besides the lanes: cue bus, send buses and recorded stems.

    Determines once per segment which stems are recorded.
    """
    cue = views.cue(address)
    bus = views.bus(address)
    for i in range(count):
        cue[i, 0] = 0.0
        cue[i, 1] = 0.0
    for number in range(BUSES):
        for i in range(count):
            bus[number, i, 0] = 0.0
            bus[number, i, 1] = 0.0
    wanted = views.stem_taps(address)
    out = views.stem_out(address)
    for number in range(DECKS * STEMS):
        on = load_acquire(address + _ON + _TAP_BYTES * (TAP_STEM + number)) != 0
        if on or wanted[number]:
            # When it ends, clear the whole buffer: a tap that is enabled in the meantime reads
            # silence.
            for i in range(count if on else SEGMENT):
                out[number, i, 0] = 0.0
                out[number, i, 1] = 0.0
        wanted[number] = 1 if on else 0
