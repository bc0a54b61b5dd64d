"""An OSC encoder written from the specification, as a reference for the server's parser.

It uses no code of the server, so its output is known to be well-formed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from tests.support.byte_source import ByteSource

Tagged = tuple[str, Any]
"""A type tag and a value; "[" and a sequence of such pairs for an array."""

NOW = 1
_FIXED = {"i": ">i", "f": ">f", "d": ">d", "h": ">q"}
_VALUES = {"T": True, "F": False, "N": None, "I": float("inf")}
TAGS = "ifsdhbTFNIScrmt"
DEEPEST_ARRAY = 3


def padded(raw: bytes) -> bytes:
    """Return `raw` padded with zeros to a multiple of four."""
    return raw + b"\0" * (-len(raw) % 4)


def text(value: str) -> bytes:
    """Encode an OSC string."""
    return padded(value.encode("utf-8", "surrogateescape") + b"\0")


def value_bytes(tag: str, value: Any) -> bytes:
    """Encode one argument."""
    if tag in _FIXED:
        return struct.pack(_FIXED[tag], value)
    if tag in "sS":
        return text(value)
    if tag == "[":
        return b"".join(value_bytes(*one) for one in value)
    if tag == "b":
        return struct.pack(">i", len(value)) + padded(value)
    return bytes(value) if tag in "crmt" else b""


def message(address: str, arguments: Sequence[Tagged]) -> bytes:
    """Encode an OSC message."""
    tags = "," + "".join(_tags(*one) for one in arguments)
    return text(address) + text(tags) + b"".join(value_bytes(*one) for one in arguments)


def _tags(tag: str, value: Any) -> str:
    return f"[{''.join(_tags(*one) for one in value)}]" if tag == "[" else tag


def flat(arguments: Sequence[Tagged]) -> list[Any]:
    """Return the values of arguments, including those of arrays."""
    found: list[Any] = []
    for tag, value in arguments:
        found += flat(value) if tag == "[" else [value]
    return found


def bundle(tag: int, elements: Sequence[bytes]) -> bytes:
    """Encode an OSC bundle; `tag` is its 64-bit time tag."""
    parts = [struct.pack(">i", len(element)) + element for element in elements]
    return b"#bundle\0" + struct.pack(">Q", tag) + b"".join(parts)


def some_text(source: ByteSource, most: int = 12) -> str:
    """Return a text without a zero byte, not always valid UTF-8."""
    raw = source.raw(source.between(0, most)).replace(b"\0", b"-")
    return raw.decode("utf-8", "surrogateescape")


def some_argument(source: ByteSource, depth: int = 0) -> Tagged:
    """Return an argument of any type and value."""
    if depth < DEEPEST_ARRAY and source.chance(20):
        return "[", [some_argument(source, depth + 1) for _ in range(source.between(0, 3))]
    tag = source.pick(TAGS)
    if tag == "i":
        return tag, source.whole(4) - 2**31
    if tag == "h":
        return tag, source.whole(8) - 2**63
    if tag == "f":
        return tag, struct.unpack(">f", source.raw(4).ljust(4, b"\0"))[0]
    if tag == "d":
        return tag, source.double()
    if tag in "sS":
        return tag, some_text(source)
    if tag == "b":
        return tag, source.raw(source.between(0, 12))
    if tag in "crmt":
        size = 8 if tag == "t" else 4
        return tag, source.raw(size).ljust(size, b"\0")
    return tag, _VALUES[tag]
