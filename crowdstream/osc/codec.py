"""Encode and decode OSC packets (OSC 1.0 with the usual types of 1.1).

The parser is our own because packets come from untrusted senders: python-osc drops arguments of
unknown types, treats data past the end of a packet as empty, recurses as deep as a packet demands,
and never returns from an element of negative size. Tests compare the two on well-formed packets.
Arrays, also nested ones, are flattened: python-osc sends the arguments of `("/reset", [])` as an
empty array, and other libraries send all arguments as one array.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

MAX_DEPTH = 16  # bundles within bundles
BUNDLE = b"#bundle\0"
MAX_ADDRESS_BYTES = 200  # reported of the address of a malformed message
BUNDLE_HEADER_BYTES = 16  # bytes of a bundle before its first element
UNIX_EPOCH = 2208988800  # 1970 in NTP seconds, which count from 1900
FLOAT32_MAX = 3.4028234663852886e38

_INT = struct.Struct(">i")
_FLOAT = struct.Struct(">f")
_LONG = struct.Struct(">q")
_DOUBLE = struct.Struct(">d")
_TAG = struct.Struct(">Q")
_CONSTANTS: dict[str, Any] = {"T": True, "F": False, "N": None, "I": float("inf")}


class Malformed(ValueError):
    """The packet is not valid OSC."""


class Message(NamedTuple):
    """One message: its address, and its arguments as Python values."""

    address: str
    params: tuple[Any, ...]


Timed = tuple[float | None, Message]
"""A message and its time in Unix seconds, or None for immediately."""


class Fault(NamedTuple):
    """A malformed message: its address ("?" if it has none) and the reason."""

    address: str
    reason: str


def parse(packet: bytes) -> list[Timed]:
    """Decode the messages of a packet in order, each with its time.

    Raises `Malformed` if any of them is malformed; see `read`.
    """
    messages, faults = read(packet)
    if faults:
        raise Malformed(faults[0].reason)
    return messages


def read(packet: bytes) -> tuple[list[Timed], list[Fault]]:
    """Decode the messages of a packet in order, each with its time, and list malformed ones.

    A malformed message in a bundle does not affect the others. After an element of invalid size,
    the rest of its bundle cannot be decoded: that element is reported as the fault, and the
    elements before it are kept. A nested bundle acts no sooner than the one around it.
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
    if depth >= MAX_DEPTH:
        raise Malformed(f"bundles nested more than {MAX_DEPTH} deep")
    if end - at < BUNDLE_HEADER_BYTES:
        raise Malformed("a bundle ends within its time tag")
    tag = _TAG.unpack_from(packet, at + 8)[0]
    # 1 means "immediately"; senders without a clock use 0.
    moment = tag / 2**32 - UNIX_EPOCH if tag > 1 else None
    if outer is not None and (moment is None or moment < outer):
        moment = outer
    at += BUNDLE_HEADER_BYTES
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
    # The address of a malformed message, as far as it can be decoded.
    if packet[at : at + 1] != b"/":
        return "?"
    stop = packet.find(b"\0", at, min(end, at + MAX_ADDRESS_BYTES))
    raw = packet[at : stop if stop >= 0 else min(end, at + MAX_ADDRESS_BYTES)]
    return raw.decode("utf-8", "backslashreplace")  # clients must be able to decode the reply


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    after = (end + 4) & ~3
    if end < 0 or after > len(data):
        raise Malformed("a string is not terminated")
    # File names may contain bytes that are not UTF-8; these are passed through unchanged.
    return data[at:end].decode("utf-8", "surrogateescape"), after


def _message(data: bytes) -> Message:
    if len(data) % 4:
        raise Malformed(f"{len(data)} bytes are not a multiple of 4")
    address, at = _string(data, 0)
    if at == len(data):  # old senders omit the type tags of a message without arguments
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
            elif tag == "[":  # no command takes an array: its elements become arguments
                open_arrays += 1
            elif tag == "]" and open_arrays:
                open_arrays -= 1
            else:
                value, at = _rare(tag, data, at)
                values.append(value)
    except struct.error:
        raise Malformed("the arguments end before their type tags do") from None
    if open_arrays:
        raise Malformed("an array among the arguments is not closed")
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
        raise Malformed("an array among the arguments is closed before it is opened")
    raise Malformed(f"unknown type tag {tag!r}")


def _escaped(value: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        pass
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that does not represent a byte
        return value.encode("utf-8", "backslashreplace")


def _padded(raw: bytes) -> bytes:
    return raw + b"\0" * (4 - len(raw) % 4)


def bundle(messages: Sequence[bytes], moment: float | None = None) -> bytes:
    """Encode a bundle of encoded messages or bundles.

    `moment`: its time tag in Unix seconds, None for "immediately". Raises `ValueError` for a time
    before 1900 or after 2036.
    """
    tag = 1 if moment is None else round((moment + UNIX_EPOCH) * 2**32)
    if not 0 < tag < 2**64:
        raise ValueError(f"{moment} is not a time of an OSC time tag")
    sized = (_INT.pack(len(message)) + message for message in messages)
    return b"".join((BUNDLE, _TAG.pack(tag), *sized))


class Double(float):
    """A float that is sent in double precision (type d), such as a Unix time."""


def build(address: str, arguments: tuple[Any, ...]) -> bytes:
    """Encode one OSC message.

    Integers are sent as i, or h if they need 64 bits; floats as f, or d if they exceed its range
    or are a `Double`. Other values are sent as strings.
    """
    tags = ","
    parts: list[bytes] = []
    add: Callable[[bytes], None] = parts.append
    for value in arguments:
        if isinstance(value, float):
            short = abs(value) <= FLOAT32_MAX or not math.isfinite(value)
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

