"""Generated bundles: parsed as they were built; damaged ones are parsed or refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from crowdstream.osc.codec import MAX_DEPTH, UNIX_EPOCH, Malformed, parse, read
from tests.fuzz.registry import Fault, Target
from tests.fuzz.targets.osc import same
from tests.support import osc_reference
from tests.support.byte_source import ByteSource

MAX_ELEMENTS = 12
DEEP = MAX_DEPTH + 4
SLOW_SECONDS = 20.0  # of CPU time; a packet takes under 10 ms, so this one is taken as endless

Known = tuple[float | None, str, tuple[Any, ...]]


def _build(source: ByteSource, outer: float | None, depth: int) -> tuple[bytes, list[Known], int]:
    """Build a bundle; return its bytes, its meaning and its nesting depth."""
    tag = source.pick(
        (osc_reference.NOW, 0, source.whole(8), (2208988800 + source.whole(4) % 2**30) << 32)
    )
    moment = tag / 2**32 - UNIX_EPOCH if tag > 1 else None
    if outer is not None and (moment is None or moment < outer):
        moment = outer
    elements, known, deepest = [], [], depth
    for _ in range(source.between(0, MAX_ELEMENTS)):
        if source.chance(70) and depth < DEEP:
            inner, more, deep = _build(source, moment, depth + 1)
            elements.append(inner)
            known += more
            deepest = max(deepest, deep)
        else:
            address = "/" + osc_reference.some_text(source)
            arguments = [osc_reference.some_argument(source) for _ in range(source.between(0, 5))]
            elements.append(osc_reference.message(address, arguments))
            known.append((moment, address, tuple(osc_reference.flat(arguments))))
        if not source.left:
            break
    return osc_reference.bundle(tag, elements), known, deepest


def run(data: bytes) -> None:
    """Parse a bundle, then parse damaged copies of it."""
    source = ByteSource(data)
    around = source.between(0, DEEP) if source.chance(40) else 0
    packet, known, deepest = _build(source, None, 1 + around)
    for _ in range(around):
        packet = osc_reference.bundle(osc_reference.NOW, [packet])
    begin = time.thread_time()
    try:
        found = parse(packet)
    except Malformed as error:
        if deepest <= MAX_DEPTH:
            raise Fault(f"a valid bundle is refused: {error}") from error
    else:
        if deepest > MAX_DEPTH:
            raise Fault(f"a bundle nested {deepest} deep is parsed")
        _compare(found, known)
    for _ in range(source.between(0, 4)):
        _read_or_refused(_damaged(source, packet))
    if time.thread_time() - begin > SLOW_SECONDS:
        raise Fault(f"{len(packet)} bytes take {time.thread_time() - begin:.1f} s")


def _compare(found: list[Any], known: list[Known]) -> None:
    if len(found) != len(known):
        raise Fault(f"{len(known)} messages are parsed as {len(found)}")
    for (moment, message), (wanted, address, values) in zip(found, known, strict=True):
        alike = [same(one, other) for one, other in zip(message.params, values, strict=True)]
        if moment != wanted or message.address != address or not all(alike):
            raise Fault(f"{wanted} {address} {values} is parsed as {moment} {message}")


def _damaged(source: ByteSource, packet: bytes) -> bytes:
    broken = bytearray(packet)
    how = source.between(0, 3)
    at = source.between(0, len(broken) - 1)
    if how == 0:
        return bytes(broken[:at])
    if how == 1:  # a wrong count or size
        place = at & ~3
        extreme = (0, -1, -4, 2**31 - 1, -(2**31), 4, len(packet))
        broken[place : place + 4] = source.pick(extreme).to_bytes(4, "big", signed=True)
    elif how == 2:  # padding, type tags and strings
        broken[at] = source.byte()
    else:
        del broken[at : at + source.between(1, 8)]
    return bytes(broken)


def _read_or_refused(packet: bytes) -> None:
    try:
        messages = parse(packet)
    except Malformed as error:
        if not str(error):
            raise Fault("refused without a reason") from error
        if not read(packet)[1]:
            raise Fault("refused although nothing is wrong") from error
    else:
        if repr(read(packet)) != repr((messages, [])):
            raise Fault("`parse` and `read` disagree")


def seeds() -> Iterator[bytes]:
    """Bundles with few and many elements, flat and nested."""
    yield bytes(40)
    yield bytes([1, 2]) + bytes(range(200))
    yield bytes([255, MAX_DEPTH - 1]) + bytes(20)
    yield bytes([255, MAX_DEPTH]) + bytes(20)
    yield bytes([0] + [2, 3, 255] * 40)
    yield bytes(range(255, 0, -1))


TARGET = Target(
    "bundles",
    "a bundle of any shape is parsed as it was built, one nested too deep is refused, and a "
    "damaged one is parsed or refused, quickly",
    run,
    seeds,
    ("crowdstream.osc.codec",),
)
