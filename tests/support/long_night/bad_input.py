"""Invalid input: packets that are not OSC, and commands that are refused."""

from __future__ import annotations

import random
import struct
from typing import Any

from crowdstream.osc.codec import build

# Messages that do not affect the music even if a truncated or modified copy is accepted.
_HARMLESS = (
    build("/deck/A/eq/low", (0.8, 0.1)), build("/status", ()), build("/deck/B/filter", (0.1,)),
    build("/sync", (7,)), build("/clock/next", (1.0, "/deck/C/eq/high", 0.9)),
)  # fmt: skip
_MAX_DEPTH = 400  # of nested bundles

COMMANDS: tuple[tuple[Any, ...], ...] = (
    ("/no/such/command",), ("/deck/E/play",), ("/deck/A/level",), ("/deck/A/level", "loud"),
    ("/deck/A/level", float("nan")), ("/deck/B/rate", 1e30), ("/deck/C/seek", -5.0),
    ("/deck/A/hotcue", 99), ("/deck/D/loop", 0.0), ("/clock/tempo", float("inf")),
    ("/clock/at", 1e9, "/deck/A/play"), ("/clock/next", "bar", "/clock/next", "bar", "/status"),
    ("/mix/route", "bus1", "bus1", 1.0), ("/deck/A/fx/insert", 9, "echo"),
    ("/mix/fx/set", 4, "nothing", 1.0), ("/deck/B/load", "/no/such/folder/track.wav"),
    ("/deck/B/load", ""), ("/deck/C/load", "\udcff.wav"),
    ("/deck/A/load", "../" * 200),
    ("/load_buffer", 99, "x"), ("/play_stem", 2**31 - 1), ("/deck/A/stem/8/eq/low", -1.0),
    ("/start_group", 0.0, "Z"), ("/fade", "A", "soon"), ("/set_meter", 0), ("/sync", "x"),
)  # fmt: skip
"""Commands that the server refuses, each with its arguments."""


def bad_command(chance: random.Random) -> tuple[Any, ...]:
    """A command that the server refuses: address and arguments."""
    return chance.choice(COMMANDS)


def bad_packet(chance: random.Random) -> bytes:
    """A packet that is not OSC, or barely."""
    makers = (_noise, _truncated, _altered, _oversized, _bundle, _nested)
    return chance.choice(makers)(chance)


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(0, 400))


def _truncated(chance: random.Random) -> bytes:
    whole = chance.choice(_HARMLESS)
    return whole[: chance.randrange(len(whole))]


def _altered(chance: random.Random) -> bytes:
    packet = bytearray(chance.choice(_HARMLESS))
    # After the address, so that it does not become another command.
    place = chance.randrange(packet.index(b",") + 1, len(packet))
    packet[place] = chance.choice(b"ifsbhtdTFNI[]\x00\xff")
    return bytes(packet)


def _oversized(chance: random.Random) -> bytes:
    return build("/deck/A/load", ("x" * chance.randrange(1000, 60000),))


def _bundle(chance: random.Random) -> bytes:
    size = chance.choice((-1, -(2**31), 2**31 - 1, 3, 0))
    tag = chance.choice((0, 1, 2**64 - 1))
    return b"#bundle\0" + struct.pack(">Qi", tag, size) + chance.choice(_HARMLESS)


def _nested(chance: random.Random) -> bytes:
    packet = chance.choice(_HARMLESS)
    for _ in range(chance.randrange(10, _MAX_DEPTH)):
        packet = b"#bundle\0" + struct.pack(">Qi", 1, len(packet)) + packet
    return packet
