"""Mix the decks' lanes to the master: levels, routing matrix and send buses.

Six sources, the decks and the two buses, feed three destinations, the buses and the master, each
with its own gain. Control ensures that the buses never form a feedback loop; the bus that feeds
the other one is processed first.
"""

from __future__ import annotations

from crowdstream.desk.constants import BUSES, CHAIN_BUS, CHAIN_MASTER, DECKS, SEGMENT
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import RAMP_PATCH, RAMP_PREFADER
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.effects.chain import run_chain
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.mixer.fader import deck_gain

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
def mix_down(address, count):
    """Mix `count` frames of decks and buses to the master, and run the master's effect chain."""
    mix = views.mix(address)
    for i in range(count):
        mix[i, 0] = 0.0
        mix[i, 1] = 0.0
    for deck in range(DECKS):
        _mix_deck(address, deck, count)
    first = 1 if _is_routed(address, DECKS + 1, 0) else 0
    _mix_bus(address, first, True, count)
    _mix_bus(address, 1 - first, False, count)
    run_chain(address, CHAIN_MASTER, address + MIX, 2, count)
