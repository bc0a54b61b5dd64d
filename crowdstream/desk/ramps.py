"""Rows of the table of ramped parameters, and their neutral values."""

from __future__ import annotations

from crowdstream.desk.constants import BUSES, DECKS, INPUTS, PAIRS, SLOTS, STEMS
from crowdstream.desk.effects import EFFECTS, ROWS
from crowdstream.desk.opcodes import CURVE_ADDITIVE, CURVE_CUT

# Ramped parameters are rows of one table, addressed by number.
RAMP_MASTER = 0
RAMP_CROSSFADER = 2  # 0: all of the left side, 1: all of the right side
RAMP_CUE = 3  # level of the cue bus
RAMP_SAMPLES = 4  # level of all sample pads
RAMP_ANNOUNCEMENTS = 5  # level of announcements
RAMP_DUCK = 6  # gain of the mix without announcements
RAMP_HOUSE = 7  # gain of everything that the opening hours set: fade-in, loudness limits
RAMP_DECK = 8  # + deck: level
RAMP_TRIM = 12  # + deck: linear gain before the EQ
RAMP_EQ = 16  # + 4 * deck + band
RAMP_FILTER = 32  # + deck: -1 low-pass closed, 0 off, 1 high-pass closed
RAMP_RESONANCE = 36  # + deck: 0 no peak at the cutoff, 1 the highest
RAMP_PFL = 40  # + deck: its level on the cue bus
RAMP_PATCH = 48  # + 4 * source + destination: decks and buses to buses 0, 1 and the master 2
RAMP_LEFT = 112  # + deck: its assignment to the crossfader's left side, 0..1
RAMP_RIGHT = 116  # + deck: to its right side; the remainder to 1 bypasses the crossfader
RAMP_CURVE = 120  # + one of CURVE_*: its weight in the crossfader's curve; their sum is 1
RAMP_CEILING = 123  # of the limiter, linear
RAMP_PREFADER = 72  # + BUSES * deck + bus: 0 sent post-fader, 1 sent pre-fader
RAMP_INPUT_LEVEL = 80  # + input
RAMP_INPUT_MUTE = 82  # + input: 0 muted, 1 open
RAMP_INPUT_GAIN = 84  # + input: linear gain before the EQ
RAMP_INPUT_PFL = 86  # + input
RAMP_INPUT_EQ = 88  # + 4 * input + band
RAMP_INPUT_FILTER = 96  # + input: as RAMP_FILTER; four rows, because the filter has four pairs
RAMP_INPUT_RESONANCE = 100  # + input, four rows
RAMP_TALKOVER = 104  # + input: gain of the music while somebody talks; moved by the engine
RAMP_EFFECT = 128  # + ROWS * instance + row
RAMP_VOICE = RAMP_EFFECT + ROWS * EFFECTS  # + VOICE_ROWS * slot + one of:
VOICE_ROWS = 96
VOICE_GAIN, VOICE_ENVELOPE, VOICE_RATE = 0, 1, 2
VOICE_PITCH = 3  # ratio: 2 is an octave up
VOICE_KEYLOCK = 5  # 0: the pitch follows the tempo, 1: it is preserved
VOICE_SPIN = 4  # speed of the platter: 0 at rest, 1 normal
VOICE_STEM = 8  # + stem: gain
VOICE_PFL = 16  # + stem: its level on the cue bus
VOICE_SEND = 24  # + 8 * bus + stem: its level on a send bus
VOICE_EQ = 40  # + 3 * stem + band
VOICE_FILTER = 64  # + stem: as RAMP_FILTER
VOICE_RESONANCE = 72  # + stem
RAMPS = RAMP_VOICE + VOICE_ROWS * SLOTS


# Initial values of the ramps; all others are 1. Every deck bypasses the crossfader, which is in its
# middle position.
NEUTRAL = {
    RAMP_CROSSFADER: 0.5,
    **dict.fromkeys(range(RAMP_PFL, RAMP_PFL + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_FILTER, RAMP_FILTER + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_RESONANCE, RAMP_RESONANCE + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_LEFT, RAMP_LEFT + DECKS), 0.0),
    **dict.fromkeys(range(RAMP_RIGHT, RAMP_RIGHT + DECKS), 0.0),
    RAMP_CURVE + CURVE_ADDITIVE: 0.0,
    RAMP_CURVE + CURVE_CUT: 0.0,
    # A deck or bus is routed to the master only.
    **{
        RAMP_PATCH + 4 * source + destination: 0.0
        for source in range(DECKS + BUSES)
        for destination in (0, 1, 3)
    },
    **dict.fromkeys(range(RAMP_PREFADER, RAMP_PREFADER + DECKS * BUSES), 0.0),
    **dict.fromkeys(range(RAMP_INPUT_PFL, RAMP_INPUT_PFL + INPUTS), 0.0),
    **dict.fromkeys(range(RAMP_INPUT_FILTER, RAMP_INPUT_FILTER + PAIRS), 0.0),
    **dict.fromkeys(range(RAMP_INPUT_RESONANCE, RAMP_INPUT_RESONANCE + PAIRS), 0.0),
    **{
        RAMP_VOICE + VOICE_ROWS * slot + row: 0.0
        for slot in range(SLOTS)
        for rows in (range(VOICE_PFL, VOICE_EQ), range(VOICE_FILTER, VOICE_RESONANCE + STEMS))
        for row in rows
    },
}


def deck_level_ramp(deck: int) -> int:
    """Row of a deck's level (linear gain)."""
    return RAMP_DECK + deck


def eq_ramp(deck: int, band: int) -> int:
    """Row of the linear gain of a deck's EQ band (0 low, 1 mid, 2 high)."""
    return RAMP_EQ + 4 * deck + band


def input_eq_ramp(number: int, band: int) -> int:
    """Row of the linear gain of an input's EQ band (0 low, 1 mid, 2 high)."""
    return RAMP_INPUT_EQ + 4 * number + band


def voice_ramp(slot: int, which: int) -> int:
    """Row of a parameter of a voice, one of `VOICE_...`."""
    return RAMP_VOICE + VOICE_ROWS * slot + which


def patch_ramp(source: int, destination: int) -> int:
    """Row of the gain from a deck (0 to 3) or bus (4, 5) to a bus (0, 1) or the master (2)."""
    return RAMP_PATCH + 4 * source + destination


def effect_ramp(instance: int, row: int) -> int:
    """Row of an effect's mix, on switch or parameter, see `desk.effects`."""
    return RAMP_EFFECT + ROWS * instance + row
