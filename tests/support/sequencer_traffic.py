"""Packets of an existing sequencer and its movement detector.

Addresses, types, arrays, order and times are those of sequencers in use. They build their messages
with python-osc, and one helper sends everything: `send("/reset", [])` passes an empty list as the
only argument, which becomes an empty array.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pythonosc.osc_message_builder import OscMessageBuilder

STARTS = {"A": 1.0, "B": 1.5, "C": 2.25}
"""Seconds after the reset at which the decks start."""
STOPPED = 4.5
SECONDS = 5.0
"""Duration of the traffic."""
LEVELS_A_SECOND = 40
READINGS_A_SECOND = 10
READINGS = ("head_movement", "arms_movement", "legs_movement", "total_movement")

Timed = tuple[float, bytes]
"""Seconds after the sequencer's start, and a packet."""


def packet(address: str, *values: Any) -> bytes:
    """Build one message like python-osc's client; a list becomes an array."""
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    dgram: bytes = builder.build().dgram
    return dgram


def sequencer(tracks: Sequence[str]) -> Iterator[Timed]:
    """Yield a run of the sequencer with one track for each of decks A, B and C."""
    yield 0.0, packet("/mixer_cleanup", [])
    yield 0.05, packet("/set_tempo", 120)
    yield 0.05, packet("/set_meter", [4])
    yield 0.1, packet("/cue", "A", tracks[0], 0)
    yield 0.1, packet("/cue", ["b", tracks[1], 0.0])
    yield 0.1, packet("/load_buffer", 2100, tracks[2], "third")
    yield 0.1, packet("/deck_eq_all", "A", [50.0, 50, 50.0])
    yield 0.1, packet("/deck_levels", [1.0, 1.0, 1.0, 1.0])
    yield 0.5, packet("/reset", [])
    yield 0.5, packet("/start_group", STARTS["A"], "A")
    yield 0.5, packet("/start_group", ["B", STARTS["B"]])
    yield 0.5, packet("/schedule_c_at", [STARTS["C"]])
    for step in range(3 * LEVELS_A_SECOND):
        at = 0.6 + step / LEVELS_A_SECOND
        yield at, packet("/deck_levels", [1.0, 1, 1.0, 1])
        if step % LEVELS_A_SECOND == 0:
            yield at, packet("/get_status", [])
            yield at, packet("/deck_eq", "a", "low", 60)
            yield at, packet("/crossfade_levels", [1.0, 1.0])
    for buffer in (100, 1100, 2100):
        yield STOPPED, packet("/stop_stem", [buffer])


def detector() -> Iterator[Timed]:
    """Yield the messages of the movement detector: all readings, ten times per second each."""
    for step in range(int(SECONDS * READINGS_A_SECOND)):
        at = step / READINGS_A_SECOND
        for number, name in enumerate(READINGS):
            yield at, packet(f"/dance/{name}", 0.5 + 0.4 * math.sin(at + number))
        yield at, packet("/dance/person_count", step % 7)


def traffic(tracks: Sequence[str]) -> list[Timed]:
    """Return both together, in order of time."""
    return sorted([*sequencer(tracks), *detector()], key=lambda one: one[0])
