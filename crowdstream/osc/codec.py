"""OSC packets to messages and back (OSC 1.0 with the usual types of 1.1).

The parser is our own because packets come from anywhere: python-osc's leaves out arguments of
unknown types, takes what lies past a packet's end as empty, recurses as deep as a packet says,
and never returns from an element whose size is negative. Tests compare the two on what is
well-formed. Arrays, nested ones too, are flattened: python-osc sends the arguments of
`("/reset", [])` as an empty array, and other libraries send all arguments as one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

DEEPEST = 16  # bundles within bundles
BUNDLE = b"#bundle\0"
MAX_ADDRESS_BYTES = 200  # bytes of the address of a message that can't be read
HEAD = 16  # bytes of a bundle before its first element
UNIX_EPOCH = 2208988800  # of 1970, in the seconds since 1900 that time tags count
FLOAT32_MOST = 3.4028234663852886e38

_INT = struct.Struct(">i")
_FLOAT = struct.Struct(">f")
_LONG = struct.Struct(">q")
_DOUBLE = struct.Struct(">d")
_TAG = struct.Struct(">Q")
_CONSTANTS: dict[str, Any] = {"T": True, "F": False, "N": None, "I": float("inf")}


class Malformed(ValueError):
    """A packet that is not OSC."""


class Message(NamedTuple):
    """One message: its address, and its arguments as Python values."""

    address: str
    params: tuple[Any, ...]


Timed = tuple[float | None, Message]
"""A message and its time: Unix seconds, None for now."""


class Fault(NamedTuple):
    """A message that can't be used: its address ("?" where it has none), and the reason."""

    address: str
    reason: str


def parse(packet: bytes) -> list[Timed]:
    """Messages of a packet in order, each with its time.

    Raises `Malformed` if any of them can't be used; see `read`.
    """
    messages, faults = read(packet)
    if faults:
        raise Malformed(faults[0].reason)
    return messages


def read(packet: bytes) -> tuple[list[Timed], list[Fault]]:
    """Messages of a packet in order, each with its time, and those that can't be used.

    One message of a bundle that can't be used does not affect the others. If the size of an
    element is wrong, nothing is known about what follows it in the same bundle: that element is
    the fault, and what precedes it counts. A bundle inside a bundle acts no sooner than the one
    around it.
    """
    messages: list[Timed] = []
    faults: list[Fault] = []
    _element(packet, 0, len(packet), None, 0, messages, faults)
    return messages, faults


def _element(
    packet: bytes, at: int, end: int, outer: float | None, depth: int,
    messages: list[Timed], faults: list[Fault],
) -> None:
    try:
        if packet[at : at + 1] == b"/":
            messages.append((outer, _message(packet[at:end])))
        elif packet.startswith(BUNDLE, at, end):
            _bundle(packet, at, end, outer, depth, messages, faults)
        else:
            raise Malformed("not an OSC packet: it begins with neither / nor #bundle")
    except Malformed as error:
        faults.append(Fault(_address(packet, at, end), str(error)))


def _bundle(
    packet: bytes, at: int, end: int, outer: float | None, depth: int,
    messages: list[Timed], faults: list[Fault],
) -> None:
    if depth >= DEEPEST:
        raise Malformed(f"bundles nested more than {DEEPEST} deep")
    if end - at < HEAD:
        raise Malformed("a bundle ends within its time tag")
    tag = _TAG.unpack_from(packet, at + 8)[0]
    # 1 means "at once"; 0 is what senders without a clock give.
    moment = tag / 2**32 - UNIX_EPOCH if tag > 1 else None
    if outer is not None and (moment is None or moment < outer):
        moment = outer
    at += HEAD
    while at < end:
        if end - at < 4:
            raise Malformed("a bundle ends within the size of an element")
        size = _INT.unpack_from(packet, at)[0]
        at += 4
        if size <= 0 or size > end - at:
            reason = f"an element of a bundle claims {size} bytes of {end - at}"
            faults.append(Fault(_address(packet, at, end), reason))
            return
        _element(packet, at, at + size, moment, depth + 1, messages, faults)
        at += size


def _address(packet: bytes, at: int, end: int) -> str:
    # What a message is called that can't be read any further.
    if packet[at : at + 1] != b"/":
        return "?"
    stop = packet.find(b"\0", at, min(end, at + MAX_ADDRESS_BYTES))
    raw = packet[at : stop if stop >= 0 else min(end, at + MAX_ADDRESS_BYTES)]
    return raw.decode("utf-8", "backslashreplace")  # a client has to be able to read the answer


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    after = (end + 4) & ~3
    if end < 0 or after > len(data):
        raise Malformed("a text has no end")
    # File names need not be UTF-8: what is not goes through unchanged.
    return data[at:end].decode("utf-8", "surrogateescape"), after


def _message(data: bytes) -> Message:
    if len(data) % 4:
        raise Malformed(f"{len(data)} bytes are no multiple of 4")
    address, at = _string(data, 0)
    if at == len(data):  # senders of old leave the type tags out where there are no arguments
        return Message(address, ())
    tags, at = _string(data, at)
    if tags[:1] != ",":
        raise Malformed("the type tags do not begin with a comma")
    values: list[Any] = []
    open_arrays = 0
    try:
        for tag in tags[1:]:
            if tag == "f":
                values.append(_FLOAT.unpack_from(data, at)[0])
                at += 4
            elif tag == "i":
                values.append(_INT.unpack_from(data, at)[0])
                at += 4
            elif tag in ("s", "S"):
                text, at = _string(data, at)
                values.append(text)
            elif tag in _CONSTANTS:
                values.append(_CONSTANTS[tag])
            elif tag == "[":  # no command takes an array: its elements are arguments
                open_arrays += 1
            elif tag == "]" and open_arrays:
                open_arrays -= 1
            else:
                value, at = _rare(tag, data, at)
                values.append(value)
    except struct.error:
        raise Malformed("the arguments end before their type tags do") from None
    if open_arrays:
        raise Malformed("an array of its arguments has no end")
    if at != len(data):
        raise Malformed(f"{len(data) - at} bytes follow the last argument")
    return Message(address, tuple(values))


def _rare(tag: str, data: bytes, at: int) -> tuple[Any, int]:
    if tag == "d":
        return _DOUBLE.unpack_from(data, at)[0], at + 8
    if tag == "h":
        return _LONG.unpack_from(data, at)[0], at + 8
    if tag == "b":
        size = _INT.unpack_from(data, at)[0]
        after = at + 4 + ((size + 3) & ~3)
        if size < 0 or after > len(data):
            raise Malformed(f"a blob claims {size} bytes")
        return data[at + 4 : at + 4 + size], after
    if tag in ("c", "r", "m", "t"):
        size = 8 if tag == "t" else 4
        if at + size > len(data):
            raise Malformed("the arguments end before their type tags do")
        return data[at : at + size], at + size
    if tag == "]":
        raise Malformed("an array of its arguments ends before it begins")
    raise Malformed(f"type tag {tag!r} is not known")


def _escaped(value: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        pass
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return value.encode("utf-8", "backslashreplace")


def _padded(raw: bytes) -> bytes:
    return raw + b"\0" * (4 - len(raw) % 4)


def bundle(messages: Sequence[bytes]) -> bytes:
    """Messages that belong together as one packet, for now."""
    sized = (_INT.pack(len(message)) + message for message in messages)
    return b"".join((BUNDLE, _TAG.pack(1), *sized))


class Double(float):
    """A float that needs all of its digits, such as a Unix time: sent as d."""


def build(address: str, arguments: tuple[Any, ...]) -> bytes:
    """One OSC message. ints are sent as i (h when they need it), floats as f (d likewise)."""
    tags = ","
    parts: list[bytes] = []
    add: Callable[[bytes], None] = parts.append
    for value in arguments:
        if isinstance(value, float):
            short = abs(value) <= FLOAT32_MOST or not math.isfinite(value)
            if short and not isinstance(value, Double):
                tags += "f"
                add(_FLOAT.pack(value))
            else:
                tags += "d"
                add(_DOUBLE.pack(value))
        elif value is None:
            tags += "N"
        elif isinstance(value, int) and -(2**31) <= value < 2**31:
            tags += "i"
            add(_INT.pack(value))
        elif isinstance(value, int) and -(2**63) <= value < 2**63:
            tags += "h"
            add(_LONG.pack(value))
        else:
            tags += "s"
            add(_padded(_escaped(str(value)).replace(b"\0", b"?")))
    return b"".join((_padded(_escaped(address)), _padded(tags.encode()), *parts))

