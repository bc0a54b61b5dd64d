"""Any bytes as an OSC packet: refused, or parsed as python-osc parses them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from pythonosc.osc_message import OscMessage, ParseError

from crowdstream.osc.codec import FLOAT32_MAX, Malformed, Message, build, parse
from tests.fuzz.registry import Fault, Target
from tests.support import osc_reference

MIN_MESSAGE_BYTES = 4  # bytes of a message; in a bundle four more
_COMPARED = set("ifsdhbTF")


def same(one: Any, other: Any) -> bool:
    """Whether two values have the same type and are equal; NaN equals NaN."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def run(data: bytes) -> None:
    """Parse a packet."""
    try:
        messages = parse(data)
    except Malformed as error:
        if not str(error):
            raise Fault("refused without a reason") from error
        return
    if len(messages) > 1 + len(data) // (MIN_MESSAGE_BYTES + 4):
        raise Fault(f"{len(messages)} messages of {len(data)} bytes")
    for moment, message in messages:
        if moment is not None and not math.isfinite(moment):
            raise Fault(f"a time of {moment}")
        if sum(len(v) for v in message.params if isinstance(v, str | bytes)) > len(data):
            raise Fault("the arguments are larger than the packet")
        _check_round_trip(message)
    if data[:1] == b"/":
        _compare(data, messages[0][1])


def _check_round_trip(message: Message) -> None:
    """Check that a parsed message, when sent again, is parsed to the same values."""
    sent = [v for v in message.params if type(v) in (int, float, str)]
    [(_, again)] = parse(build(message.address, tuple(sent)))
    for value, known in zip(again.params, sent, strict=True):
        # A float is sent with 32 bits if they can hold its magnitude.
        short = isinstance(known, float) and abs(known) <= FLOAT32_MAX
        if not same(value, struct.unpack(">f", struct.pack(">f", known))[0] if short else known):
            raise Fault(f"{known!r} was sent as {value!r}")


def _compare(data: bytes, ours: Message) -> None:
    end = data.index(b"\0")
    tags_at = (end + 4) & ~3
    raw = data[tags_at : data.find(b"\0", tags_at)] if tags_at < len(data) else b","
    tags = raw[1:].decode("latin-1")
    plain = [tag for tag in tags if tag not in "[]"]
    known = zip(plain, ours.params, strict=True)
    length = len(osc_reference.text(ours.address) + osc_reference.text(raw.decode("latin-1")))
    length += sum(len(osc_reference.value_bytes(*one)) for one in known)
    if tags_at < len(data) and length != len(data):
        raise Fault(f"{ours} takes {length} bytes but was parsed from {len(data)}")
    if not set(plain) <= _COMPARED:
        return  # the two interpret the rarer types differently
    if not all(_is_utf8(text) for text in (ours.address, *ours.params)):
        return
    try:
        theirs = OscMessage(data)
    except ParseError as error:
        raise Fault(f"python-osc refuses it: {error}") from error
    values = list(_flat(theirs.params))
    if theirs.address != ours.address or len(values) != len(ours.params):
        raise Fault(f"{ours} is {theirs.address} {theirs.params} to python-osc")
    for one, other in zip(ours.params, values, strict=True):
        if not same(one, other):
            raise Fault(f"{one!r} is {other!r} to python-osc")


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _is_utf8(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def seeds() -> Iterator[bytes]:
    """One packet of each kind, and some that are almost valid."""
    every = [("i", -5), ("f", 0.5), ("s", "text"), ("d", 1e300), ("h", 2**40), ("b", b"abc")]
    rest = [(tag, None) for tag in "TFNI"] + [(tag, bytes(4)) for tag in "crm"]
    yield osc_reference.message("/deck/A/level", every)
    yield osc_reference.message("/x", [*rest, ("t", bytes(8)), ("S", "symbol")])
    yield osc_reference.message("/reset", [])[:8]
    yield osc_reference.message("/reset", [("[", [])])
    yield osc_reference.message("/a", [("[", [*every, ("[", rest)]), ("i", 1)])
    inner = osc_reference.bundle(
        2**40, [osc_reference.message("/a", []), osc_reference.message("/b", [("i", 1)])]
    )
    yield osc_reference.bundle(
        osc_reference.NOW, [inner, osc_reference.message("/c", [("s", "é")])]
    )
    yield osc_reference.bundle(
        osc_reference.NOW, [osc_reference.bundle(osc_reference.NOW, [inner])]
    )
    yield b"#bundle\0" + b"\xff" * 8
    yield osc_reference.message("/a", [("s", "\udcff\udc80")])
    # A blob with a negative size, which would make the parser read the next argument from it too.
    for size in (-4, -1, -8, 2**31 - 1):
        yield osc_reference.text("/a") + osc_reference.text(",bi") + struct.pack(">i", size)


TARGET = Target(
    "osc",
    "any bytes are refused or parsed; the values agree with python-osc, and can be "
    "sent and parsed again",
    run,
    seeds,
    ("crowdstream.osc.codec",),
)
