"""Mix to the master: levels, routing matrix, send buses, samples, inputs, announcements.

Six sources, the decks and the two buses, feed three destinations, the buses and the master, each
with its own gain. Control ensures that the buses never form a feedback loop; the bus that feeds
the other one is processed first.

Sample pads join the mix before the master's effect chain. After it comes the ducking: announcements
duck everything else, and an input with talkover ducks the music. The deepest of them applies.
Then inputs and announcements are added.
"""

from __future__ import annotations

from crowdstream.desk.constants import (
    ANNOUNCER,
    BUSES,
    CHAIN_BUS,
    CHAIN_MASTER,
    DECKS,
    INPUTS,
    PLAYERS,
    SAMPLER,
    SEGMENT,
)
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import (
    RAMP_ANNOUNCEMENTS,
    RAMP_DUCK,
    RAMP_PATCH,
    RAMP_PREFADER,
    RAMP_SAMPLES,
)
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.effects.chain import run_chain
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.mixer.fader import deck_gain
from crowdstream.engine.mixer.inputs import add_inputs, fade_inputs
from crowdstream.engine.taps import tap_music

MIX = REGIONS["mix"].offset
BUS = REGIONS["bus"].offset
MASTER = BUSES  # number of the master as a destination


@kernel
def _is_routed(address, source, destination):
    # Whether the route from a source to a destination is open.
    ramp = views.ramps(address)[RAMP_PATCH + 4 * source + destination]
    return ramp.left > 0 or ramp.value != 0.0


@kernel
def _fill_patch(address, source, destination, gains, count):
    # Fill in the gain of a route, frame by frame.
    fill_ramp(views.ramps(address)[RAMP_PATCH + 4 * source + destination], gains, count)


@kernel
def _send_deck(address, deck, bus, level, count):
    # Add a deck to a bus: post-fader, pre-fader, or fading from one to the other.
    gains = views.effect_scratch(address)[4]
    before = views.effect_scratch(address)[5]
    _fill_patch(address, deck, bus, gains, count)
    fill_ramp(views.ramps(address)[RAMP_PREFADER + BUSES * deck + bus], before, count)
    lanes = views.lanes(address)
    into = views.bus(address)[bus]
    for i in range(count):
        gain = gains[i] * (level[i] + before[i] * (views.F32(1.0) - level[i]))
        into[i, 0] += gain * lanes[i, 2 * deck]
        into[i, 1] += gain * lanes[i, 2 * deck + 1]


@kernel
def _mix_deck(address, deck, count):
    lanes = views.lanes(address)
    ramps = views.ramps(address)
    level = views.gain(address)[0]
    state = views.decks(address)[deck]
    mix = views.mix(address)
    deck_gain(address, deck, level, count)
    for bus in range(BUSES):
        if _is_routed(address, deck, bus) or ramps[RAMP_PREFADER + BUSES * deck + bus].left > 0:
            _send_deck(address, deck, bus, level, count)
    gains = views.effect_scratch(address)[4]
    _fill_patch(address, deck, MASTER, gains, count)
    peak = state.peak
    for i in range(count):
        left = lanes[i, 2 * deck] * level[i]
        right = lanes[i, 2 * deck + 1] * level[i]
        louder = max(abs(left), abs(right))
        peak = louder if louder > peak else peak
        mix[i, 0] += left * gains[i]
        mix[i, 1] += right * gains[i]
    state.peak = peak


@kernel
def _mix_bus(address, number, first, count):
    # Run a bus through its chain and add it to the master; the first one also to the other bus.
    bus = views.bus(address)
    silent = views.chains(address)[CHAIN_BUS + number] < 0
    for i in range(count):
        silent = silent and bus[number, i, 0] == 0.0 and bus[number, i, 1] == 0.0
    run_chain(address, CHAIN_BUS + number, address + BUS + 8 * SEGMENT * number, 2, count)
    mix = views.mix(address)
    gains = views.effect_scratch(address)[4]
    _fill_patch(address, DECKS + number, MASTER, gains, count)
    if not silent:
        for i in range(count):
            mix[i, 0] += gains[i] * bus[number, i, 0]
            mix[i, 1] += gains[i] * bus[number, i, 1]
    other = 1 - number
    if _is_routed(address, DECKS + number, other):
        _fill_patch(address, DECKS + number, other, gains, count)
        for i in range(count if first else 0):
            bus[other, i, 0] += gains[i] * bus[number, i, 0]
            bus[other, i, 1] += gains[i] * bus[number, i, 1]


@kernel
def clear_players(address, count):
    """Silence `count` frames of sample pads and announcements, before their voices are rendered."""
    players = views.players(address)
    for number in range(PLAYERS):
        for i in range(count):
            players[number, i, 0] = 0.0
            players[number, i, 1] = 0.0


@kernel
def _add_player(address, players, deck, row, count):
    # Add the voices of `deck`, SAMPLER or ANNOUNCER, to the mix at the level of ramp `row`, if it
    # is one of `players`. The level moves in any case.
    ramp = views.ramps(address)[row]
    level = views.gain(address)[0]
    if players >> deck & 1 == 0:
        if ramp.left > 0:
            fill_ramp(ramp, level, count)
        return
    mix = views.mix(address)
    sound = views.players(address)[deck - DECKS]
    fill_ramp(ramp, level, count)
    for i in range(count):
        mix[i, 0] += sound[i, 0] * level[i]
        mix[i, 1] += sound[i, 1] * level[i]


@kernel
def _duck(address, announced, talked, count):
    # Apply the deepest of the gains in `ducks`: the first row if `announced`, the others if
    # `talked`.
    mix = views.mix(address)
    ducks = views.ducks(address)
    for i in range(count):
        gain = ducks[0, i] if announced else views.F32(1.0)
        for row in range(1, 1 + INPUTS if talked else 1):
            gain = min(gain, ducks[row, i])
        mix[i, 0] *= gain
        mix[i, 1] *= gain


@kernel
def mix_down(address, players, inputs, count, frame):
    """Mix `count` frames to the master, from `frame` on.

    That is decks, buses, samples, the master's effects, inputs and announcements. `players`: bit
    mask of SAMPLER and ANNOUNCER, if they have voices. `inputs`: whether there are any.
    """
    mix = views.mix(address)
    for i in range(count):
        mix[i, 0] = 0.0
        mix[i, 1] = 0.0
    for deck in range(DECKS):
        _mix_deck(address, deck, count)
    first = 1 if _is_routed(address, DECKS + 1, 0) else 0
    _mix_bus(address, first, True, count)
    _mix_bus(address, 1 - first, False, count)
    _add_player(address, players, SAMPLER, RAMP_SAMPLES, count)
    run_chain(address, CHAIN_MASTER, address + MIX, 2, count)
    duck = views.ramps(address)[RAMP_DUCK]
    announced = duck.left > 0 or duck.value != 1.0
    if announced:
        fill_ramp(duck, views.ducks(address)[0], count)
    talked = inputs and fade_inputs(address, count)
    if announced or talked:
        _duck(address, announced, talked, count)
    tap_music(address, count, frame)
    if inputs:
        add_inputs(address, announced, count)
    _add_player(address, players, ANNOUNCER, RAMP_ANNOUNCEMENTS, count)
