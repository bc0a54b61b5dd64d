"""The table of ramped parameters: each has its own row and a neutral value."""

from __future__ import annotations

from collections import Counter

import numpy as np

from crowdstream.desk import layout, ramps
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import BANDS, BUSES, DECKS, INPUTS, PAIRS, SLOTS, STEMS
from crowdstream.desk.effects import EFFECTS, ROWS
from crowdstream.desk.opcodes import CURVE_ADDITIVE, CURVE_CUT, CURVE_POWER
from crowdstream.desk.ramps import (
    NEUTRAL,
    RAMPS,
    VOICE_ROWS,
    deck_level_ramp,
    effect_ramp,
    eq_ramp,
    input_eq_ramp,
    patch_ramp,
    voice_ramp,
)

# Rows of layout version 6. A process attaches only to a desk of its own version, so moving a row
# requires a new `layout.VERSION`.
VERSION = 7
MIXER_ROWS = {
    "MASTER": 0, "CROSSFADER": 2, "CUE": 3, "SAMPLES": 4, "ANNOUNCEMENTS": 5, "DUCK": 6,
    "HOUSE": 7, "DECK": 8,
    "TRIM": 12, "EQ": 16, "FILTER": 32, "RESONANCE": 36, "PFL": 40, "PATCH": 48,
    "PREFADER": 72, "INPUT_LEVEL": 80, "INPUT_MUTE": 82, "INPUT_GAIN": 84, "INPUT_PFL": 86,
    "INPUT_EQ": 88, "INPUT_FILTER": 96, "INPUT_RESONANCE": 100, "TALKOVER": 104,
    "LEFT": 112, "RIGHT": 116, "CURVE": 120, "CEILING": 123, "EFFECT": 128,
}  # fmt: skip
ROWS_OF_VOICE = {
    "GAIN": 0, "ENVELOPE": 1, "RATE": 2, "PITCH": 3, "SPIN": 4, "KEYLOCK": 5, "STEM": 8,
    "PFL": 16, "SEND": 24, "EQ": 40, "FILTER": 64, "RESONANCE": 72,
}  # fmt: skip


def mixer_rows() -> dict[str, int]:
    """Return the row of every parameter that belongs neither to an effect nor to a voice."""
    rows = {
        "master": ramps.RAMP_MASTER, "crossfader": ramps.RAMP_CROSSFADER, "cue": ramps.RAMP_CUE,
        "ceiling": ramps.RAMP_CEILING, "samples": ramps.RAMP_SAMPLES,
        "announcements": ramps.RAMP_ANNOUNCEMENTS, "duck": ramps.RAMP_DUCK,
        "house": ramps.RAMP_HOUSE,
    }  # fmt: skip
    for deck in range(DECKS):
        rows[f"level {deck}"] = deck_level_ramp(deck)
        for name in ("TRIM", "FILTER", "RESONANCE", "PFL", "LEFT", "RIGHT"):
            rows[f"{name.lower()} {deck}"] = getattr(ramps, f"RAMP_{name}") + deck
        for band in range(BANDS):
            rows[f"eq {deck} {band}"] = eq_ramp(deck, band)
        for bus in range(BUSES):
            rows[f"prefader {deck} {bus}"] = ramps.RAMP_PREFADER + BUSES * deck + bus
    for number in range(INPUTS):
        for name in ("INPUT_LEVEL", "INPUT_MUTE", "INPUT_GAIN", "INPUT_PFL", "TALKOVER"):
            rows[f"{name.lower()} {number}"] = getattr(ramps, f"RAMP_{name}") + number
        for band in range(BANDS):
            rows[f"input_eq {number} {band}"] = input_eq_ramp(number, band)
    for pair in range(PAIRS):
        rows[f"input_filter {pair}"] = ramps.RAMP_INPUT_FILTER + pair
        rows[f"input_resonance {pair}"] = ramps.RAMP_INPUT_RESONANCE + pair
    for source in range(DECKS + BUSES):
        for destination in range(BUSES + 1):
            rows[f"patch {source} {destination}"] = patch_ramp(source, destination)
    for curve in (CURVE_ADDITIVE, CURVE_POWER, CURVE_CUT):
        rows[f"curve {curve}"] = ramps.RAMP_CURVE + curve
    return rows


def voice_rows(slot: int) -> dict[str, int]:
    rows = {
        name.lower(): voice_ramp(slot, getattr(ramps, f"VOICE_{name}"))
        for name in ("GAIN", "ENVELOPE", "RATE", "PITCH", "SPIN", "KEYLOCK")
    }
    for stem in range(STEMS):
        for name in ("STEM", "PFL", "FILTER", "RESONANCE"):
            which = getattr(ramps, f"VOICE_{name}") + stem
            rows[f"stem {name.lower()} {stem}"] = voice_ramp(slot, which)
        for bus in range(BUSES):
            rows[f"send {bus} {stem}"] = voice_ramp(slot, ramps.VOICE_SEND + 8 * bus + stem)
        for band in range(BANDS):
            rows[f"stem eq {stem} {band}"] = voice_ramp(slot, ramps.VOICE_EQ + 3 * stem + band)
    return rows


def test_no_two_parameters_share_a_row() -> None:
    rows = list(mixer_rows().values())
    assert max(rows) < ramps.RAMP_EFFECT, "the undo log saves the mixer's rows as one piece"
    rows += [effect_ramp(instance, row) for instance in range(EFFECTS) for row in range(ROWS)]
    for slot in range(SLOTS):
        rows += voice_rows(slot).values()
    assert [row for row, times in Counter(rows).items() if times > 1] == []
    assert min(rows) == 0 and max(rows) < RAMPS
    assert layout.REGIONS["ramps"].shape == (RAMPS,)


def test_the_rows_of_a_voice_are_contiguous() -> None:
    for slot in (0, 1, SLOTS - 1):
        begin = voice_ramp(slot, 0)
        assert all(begin <= row < begin + VOICE_ROWS for row in voice_rows(slot).values())
    assert voice_ramp(SLOTS - 1, VOICE_ROWS) == RAMPS
    assert voice_ramp(0, 0) == effect_ramp(EFFECTS - 1, ROWS)


def test_rows_do_not_move_within_a_layout_version() -> None:
    assert layout.VERSION == VERSION
    assert {name: getattr(ramps, f"RAMP_{name}") for name in MIXER_ROWS} == MIXER_ROWS
    assert {name: getattr(ramps, f"VOICE_{name}") for name in ROWS_OF_VOICE} == ROWS_OF_VOICE
    assert VOICE_ROWS == 96
    assert eq_ramp(3, 2) == 16 + 4 * 3 + 2 and patch_ramp(5, 2) == 48 + 4 * 5 + 2
    assert deck_level_ramp(3) == 11 and effect_ramp(2, 3) == 128 + 2 * ROWS + 3
    assert voice_ramp(2, 5) == 128 + ROWS * EFFECTS + 96 * 2 + 5


def test_with_neutral_values_a_deck_plays_unchanged() -> None:
    values = {row: 1.0 for row in range(RAMPS)} | NEUTRAL
    for name, row in mixer_rows().items():
        kind, _, number = name.partition(" ")
        silent = kind in (
            "filter", "resonance", "pfl", "left", "right", "prefader", "input_filter",
            "input_resonance", "input_pfl",
        )
        if kind == "patch":
            silent = not number.endswith(str(BUSES))  # the master follows the buses
        elif kind == "curve":
            silent = number != str(CURVE_POWER)
        expected = 0.5 if kind == "crossfader" else 0.0 if silent else 1.0
        assert values[row] == expected, name
    for slot in (0, 1, SLOTS - 1):
        for name, row in voice_rows(slot).items():
            zero = name.startswith(("stem pfl", "send", "stem filter", "stem resonance"))
            assert values[row] == (0.0 if zero else 1.0), name


def test_all_other_rows_start_at_one() -> None:
    known = set(mixer_rows().values())
    for slot in range(SLOTS):
        known |= set(voice_rows(slot).values())
    # Rows between the 3 destinations of one source and the next source are unused.
    unused = {patch_ramp(source, 3) for source in range(DECKS + BUSES)}
    assert set(NEUTRAL) - known == unused
    assert all(0 <= row < RAMPS for row in NEUTRAL)


def test_a_new_desk_starts_with_the_neutral_values() -> None:
    desk = Desk.create(0)
    expected = np.ones(RAMPS)
    expected[list(NEUTRAL)] = list(NEUTRAL.values())
    assert np.array_equal(desk.ramps["value"], expected)
    assert np.array_equal(desk.ramps["target"], expected)
    assert not desk.ramps["left"].any()
    desk.close()
