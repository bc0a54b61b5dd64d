"""The OSC codec: well-formed packets are decoded as by python-osc, all others are refused."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from crowdstream.osc import codec
from crowdstream.osc.codec import MAX_DEPTH, Fault, Malformed, build, parse, read

NOW = b"#bundle\0" + struct.pack(">Q", 1)
EMPTY = b"/a\0\0,\0\0\0"
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ints = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32)


def bundle(*elements: bytes, tag: int = 1) -> bytes:
    packed = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", tag) + packed


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


@given(st.lists(ints | floats | texts, max_size=8))
def test_built_messages_are_decoded_alike_by_python_osc_and_by_us(values: list[Any]) -> None:
    packet = build("/some/address", tuple(values))
    theirs = OscMessage(packet)
    [(moment, ours)] = parse(packet)
    assert moment is None
    assert ours.address == theirs.address == "/some/address"
    assert len(ours.params) == len(theirs.params) == len(values)
    for value, mine, oracle in zip(values, ours.params, theirs.params, strict=True):
        assert same(value, mine)
        assert same(value, oracle)


def test_all_usual_types_are_decoded() -> None:
    packet = b"/a\0\0,TFNIdhbc\0\0\0" + struct.pack(">dq", 0.1, -5) + b"\0\0\0\3abc\0\0\0\0x"
    [(_, message)] = parse(packet)
    assert message.params == (True, False, None, math.inf, 0.1, -5, b"abc", b"\0\0\0x")


def test_values_that_no_type_can_represent_are_converted() -> None:
    values = (1e300, 2**40, 2**80, True, "a\0b", "\udcff", "\ud800")
    [(_, message)] = parse(build("/a", values))
    assert message.params == (1e300, 2**40, str(2**80), 1, "a?b", "\udcff", "\\ud800")


def test_a_message_without_type_tags_has_no_arguments() -> None:
    assert parse(b"/reset\0\0") == [(None, ("/reset", ()))]


def test_a_bundle_of_python_osc_is_decoded_with_its_time() -> None:
    builder = OscBundleBuilder(1_700_000_000.25)  # type: ignore[arg-type]
    for address in ("/a", "/b"):
        builder.add_content(OscMessage(build(address, (1,))))
    found = parse(builder.build().dgram)
    assert [message.address for _, message in found] == ["/a", "/b"]
    assert all(moment == pytest.approx(1_700_000_000.25, abs=1e-6) for moment, _ in found)


def test_an_inner_bundle_acts_no_sooner_than_the_one_around_it() -> None:
    early, late = (2208988800 + 100) << 32, (2208988800 + 200) << 32
    inner_early = bundle(build("/x", ()), tag=early)
    inner_now = bundle(build("/y", ()), tag=1)
    outer = bundle(inner_early, inner_now, build("/z", ()), tag=late)
    assert [(moment, m.address) for moment, m in parse(outer)] == [
        (200.0, "/x"), (200.0, "/y"), (200.0, "/z"),
    ]
    assert [moment for moment, _ in parse(bundle(bundle(EMPTY, tag=late), tag=early))] == [200.0]


MALFORMED = {
    "nothing": b"",
    "neither": b"hello world\0",
    "no end of the address": b"/abc",
    "not a multiple of four": b"/a\0\0,\0\0",
    "no comma": b"/a\0\0ii\0\0\0\0\0\5",
    "an unknown type": b"/a\0\0,zi\0\0\0\0\5",
    "arguments cut": b"/a\0\0,if\0\0\0\0\5",
    "a text without end": b"/a\0\0,s\0\0abcd",
    "bytes left over": b"/a\0\0,\0\0\0\1\2\3\4",
    "a blob too long": b"/a\0\0,b\0\0\0\0\0\x10abcd",
    "a negative blob": b"/a\0\0,b\0\0\xff\xff\xff\xffabcd",
    "a cut time tag": b"#bundle\0\0\0\0\0",
    "an element too long": NOW + struct.pack(">i", 1000) + EMPTY,
    "an element of no size": NOW + struct.pack(">i", 0) + EMPTY,
    "an element of negative size": NOW + struct.pack(">i", -4) + EMPTY,
    "an odd element": NOW + struct.pack(">i", 7) + EMPTY[:7],
    "an array without end": b"/a\0\0,[i\0\0\0\0\5",
    "an array without beginning": b"/a\0\0,i]\0\0\0\0\5",
    "a cut size": NOW + b"\0\0",
    "a bad second element": bundle(EMPTY, b"xx\0\0,\0\0\0"),
    "midi cut": b"/a\0\0,m\0\0",
}


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED.keys())
def test_incomplete_packets_are_malformed(packet: bytes) -> None:
    with pytest.raises(Malformed):
        parse(packet)


@pytest.mark.parametrize(
    ("arguments", "flat"),
    [
        ([[]], ()),
        ([[], []], ()),
        ([[[]]], ()),
        ([[1.0, 0.5, 0.0, 0.0]], (1.0, 0.5, 0.0, 0.0)),
        (["A", [0.5, [True, "x"], []], 3], ("A", 0.5, True, "x", 3)),
        ([[1, "text", b"blob"], [None]], (1, "text", b"blob", None)),
    ],
)
def test_arrays_are_flattened(arguments: list[Any], flat: tuple[Any, ...]) -> None:
    builder = OscMessageBuilder("/a")
    for argument in arguments:
        builder.add_arg(argument)
    assert parse(builder.build().dgram) == [(None, ("/a", flat))]


GOOD = build("/good", (1,))
BAD = {
    "an unknown type": (b"/bad\0\0\0\0,z\0\0", "/bad", "unknown type tag 'z'"),
    "cut arguments": (b"/bad\0\0\0\0,i\0\0", "/bad", "the arguments end before"),
    "a blob too long": (b"/bad\0\0\0\0,b\0\0\0\0\0\x10", "/bad", "a blob claims 16 bytes"),
    "no padding": (b"/bad\0\0\0\0,i\0\0\0\0\1", "/bad", "15 bytes are not a multiple"),
    "an open array": (b"/bad\0\0\0\0,[\0\0", "/bad", "an array among the arguments is not closed"),
    "an address without end": (b"/bad", "/bad", "a string is not terminated"),
    "no message": (b"bad\0", "?", "begins with neither / nor #bundle"),
    "a bundle of no time": (b"#bundle\0", "?", "a bundle ends within its time tag"),
}


@pytest.mark.parametrize(("bad", "address", "reason"), BAD.values(), ids=BAD.keys())
def test_a_malformed_message_is_reported_alone_under_its_address(
    bad: bytes, address: str, reason: str
) -> None:
    tag = (2208988800 + 100) << 32
    inner = bundle(GOOD, bad, bundle(bad, GOOD), tag=tag)
    messages, faults = read(bundle(bad, GOOD, inner, GOOD))
    assert [(moment, message.address) for moment, message in messages] == [
        (None, "/good"), (100.0, "/good"), (100.0, "/good"), (None, "/good"),
    ]
    assert [fault.address for fault in faults] == [address] * 3
    assert all(reason in fault.reason for fault in faults)


@pytest.mark.parametrize("size", [0, -4, 1000, 2**31 - 1])
def test_an_element_of_wrong_size_ends_only_its_own_bundle(size: int) -> None:
    torn = bundle(GOOD) + struct.pack(">i", size) + b"/bad\0\0\0\0" + GOOD
    messages, faults = read(bundle(torn, GOOD))
    assert [message.address for _, message in messages] == ["/good", "/good"]
    assert [fault.address for fault in faults] == ["/bad"]
    assert f"claims {size} bytes" in faults[0].reason


def test_the_reported_address_of_a_malformed_message_is_bounded() -> None:
    _, [fault] = read(b"/" + b"x" * 60000)
    assert len(fault.address) == 200
    assert read(b"/\xff\xfe\0,z\0\0") == ([], [Fault("/\\xff\\xfe", "unknown type tag 'z'")])


def test_bundles_are_decoded_only_to_the_maximum_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    packet = EMPTY
    for _ in range(MAX_DEPTH):
        packet = bundle(packet)
    assert len(parse(packet)) == 1
    for _ in range(3000):
        packet = bundle(packet)
    read: list[int] = []
    inner = codec._bundle

    def counted(data: bytes, at: int, *more: Any) -> None:
        read.append(at)
        inner(data, at, *more)

    monkeypatch.setattr(codec, "_bundle", counted)
    with pytest.raises(Malformed, match="nested"):
        parse(packet)
    assert len(read) == MAX_DEPTH + 1


def test_a_bundle_of_thousands_of_messages_is_decoded_completely() -> None:
    packet = bundle(*[EMPTY] * 5000)
    assert len(parse(packet)) == 5000


@given(st.binary(max_size=200))
@example(NOW + struct.pack(">i", -2147483648) + EMPTY)
def test_random_bytes_are_decoded_or_malformed(noise: bytes) -> None:
    for packet in (noise, b"/" + noise, NOW + noise, b"/a\0\0," + noise):
        try:
            parse(packet)
        except Malformed as error:
            assert str(error)


@given(st.data())
def test_damaged_packets_are_decoded_or_malformed(data: st.DataObject) -> None:
    whole = bundle(build("/cue", ("A", "file", 0.5)), bundle(build("/x", (1, 2.0))))
    packet = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packet)))
    try:
        parse(bytes(packet[:cut]))
    except Malformed as error:
        assert str(error)
