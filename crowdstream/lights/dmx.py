"""Packets that carry a DMX universe: sACN (ANSI E1.31-2018) and Art-Net 4."""

from __future__ import annotations

import struct
import uuid

SACN_PORT, ARTNET_PORT = 5568, 6454
MAX_SLOTS = 512

# E1.31, table 4-1: preamble and postamble sizes, packet identifier of ACN.
_ACN = struct.pack(">HH12s", 0x0010, 0x0000, b"ASC-E1.17\0\0\0")
_ROOT_DATA, _FRAMING_DATA, _DMP_SET = 0x00000004, 0x00000002, 0x02
_TERMINATED = 0x40  # option: the source ends the stream
_NAME_BYTES = 64


def sacn_packet(
    universe: int, slots: bytes, sequence: int, cid: uuid.UUID, name: str, priority: int = 100,
    terminated: bool = False,
) -> bytes:  # fmt: skip
    """Return an E1.31 data packet with the values of channel 1 on, up to 512.

    `cid` identifies the sender; `sequence`: 0 to 255, one more with each packet of the universe.
    """
    values = b"\0" + slots[:MAX_SLOTS]  # the start code of dimmer data is the first property
    dmp = struct.pack(
        ">HBBHHH", 0x7000 | 10 + len(values), _DMP_SET, 0xA1, 0, 1, len(values)
    ) + values
    label = name.encode()[: _NAME_BYTES - 1]
    framing = struct.pack(
        ">HI64sBHBBH", 0x7000 | 77 + len(dmp), _FRAMING_DATA, label, priority, 0,
        sequence & 0xFF, _TERMINATED if terminated else 0, universe,
    ) + dmp  # fmt: skip
    root = struct.pack(">HI16s", 0x7000 | 22 + len(framing), _ROOT_DATA, cid.bytes) + framing
    return _ACN + root


def sacn_group(universe: int) -> str:
    """Return the multicast address of a universe (E1.31, 9.3.1)."""
    return f"239.255.{universe >> 8}.{universe & 0xFF}"


def artnet_packet(universe: int, slots: bytes, sequence: int) -> bytes:
    """Return an ArtDmx packet. `universe`: the 15-bit port address; `sequence`: 1 to 255, 0 off."""
    values = slots[:MAX_SLOTS]
    values += b"\0" * (len(values) % 2 or 2 * (not values))  # the length is even and not 0
    return (
        struct.pack("<8sH", b"Art-Net\0", 0x5000)
        + struct.pack(">HBB", 14, sequence & 0xFF, 0)
        + struct.pack("<H", universe)
        + struct.pack(">H", len(values))
        + values
    )
