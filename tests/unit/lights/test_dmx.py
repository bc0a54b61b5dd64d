"""DMX packets, read by other implementations of the same standards."""

from __future__ import annotations

import struct
import uuid

from sacn.messages.data_packet import DataPacket
from stupidArtnet import StupidArtnetServer

from crowdstream.lights.dmx import artnet_packet, sacn_group, sacn_packet

CID = uuid.UUID(int=0x0123456789ABCDEF0123456789ABCDEF)
SLOTS = bytes(range(1, 17))


def test_another_implementation_reads_the_sacn_packet() -> None:
    read = DataPacket.make_data_packet(sacn_packet(300, SLOTS, 7, CID, "CrowdStream", 120))
    assert (read.universe, read.sequence, read.priority) == (300, 7, 120)
    assert bytes(read.dmxData[:16]) == SLOTS and not any(read.dmxData[16:])
    assert read.sourceName == "CrowdStream" and bytes(read.cid) == CID.bytes
    assert read.dmxStartCode == 0 and not read.option_StreamTerminated
    end = DataPacket.make_data_packet(sacn_packet(1, SLOTS, 8, CID, "X", 100, terminated=True))
    assert end.option_StreamTerminated


def test_a_full_sacn_packet_is_that_of_the_other_implementation() -> None:
    full = bytes(number % 256 for number in range(512))
    other = DataPacket(tuple(CID.bytes), "CrowdStream", 5, tuple(full), 100, 3)
    assert sacn_packet(5, full, 3, CID, "CrowdStream") == bytes(other.getBytes())
    assert len(sacn_packet(5, full + b"more", 3, CID, "CrowdStream")) == 638


def test_long_names_and_the_multicast_address() -> None:
    read = DataPacket.make_data_packet(sacn_packet(1, SLOTS, 0, CID, "x" * 100))
    assert read.sourceName == "x" * 63
    assert sacn_group(63999) == "239.255.249.255" and sacn_group(1) == "239.255.0.1"


def test_another_implementation_accepts_the_artnet_packet() -> None:
    packet = artnet_packet(0x1234, SLOTS, 9)
    assert StupidArtnetServer.validate_header(packet)
    # Sequence, physical port, universe (low byte first), length (high byte first).
    assert struct.unpack("<BBH", packet[12:16]) == (9, 0, 0x1234)
    assert struct.unpack(">H", packet[16:18]) == (16,) and packet[18:] == SLOTS


def test_the_length_of_an_artnet_packet_is_even_and_not_0() -> None:
    assert artnet_packet(0, b"\1", 1)[16:] == b"\0\2\1\0"
    assert artnet_packet(0, b"", 1)[16:] == b"\0\2\0\0"
    assert len(artnet_packet(0, bytes(600), 1)) == 18 + 512
