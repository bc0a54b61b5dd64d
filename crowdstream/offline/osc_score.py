"""Sets as binary OSC scores, the format of SuperCollider's non-real-time mode.

A score is a sequence of bundles, each preceded by its length as a 32-bit big-endian integer. A time
tag counts seconds since the start, in units of 2^-32. An empty bundle marks the end of the mix.
"""

from __future__ import annotations

import struct
from pathlib import Path

from crowdstream.dj.setfile.errors import SetError
from crowdstream.offline.cues import Checker, Cue, Moment, Set, moment
from crowdstream.osc.codec import BUNDLE, BUNDLE_HEADER_BYTES, UNIX_EPOCH, Malformed, parse
from crowdstream.system.text import printable

_LENGTH = struct.Struct(">i")


def is_score(data: bytes) -> bool:
    """Whether `data` starts like a score."""
    return data[4 : 4 + len(BUNDLE)] == BUNDLE


def read_score(data: bytes, path: Path) -> Set:
    """Return the set in a score. Raises `SetError` with the number of the bundle."""
    checker = Checker(path.parent)
    cues: list[Cue] = []
    end: Moment | None = None
    at = number = 0
    while at < len(data):
        number += 1
        place = f"{printable(path)}, bundle {number}"
        if end is not None:
            raise SetError(f"{place}: the empty bundle before it has already ended the mix")
        if len(data) - at < _LENGTH.size:
            raise SetError(f"{place}: the file ends within the bundle's length")
        size = _LENGTH.unpack_from(data, at)[0]
        at += _LENGTH.size
        packet = data[at : at + size]
        if size < BUNDLE_HEADER_BYTES or len(packet) < size:
            raise SetError(f"{place}: its length is {size} bytes, but {len(data) - at} are left")
        at += size
        try:
            messages = parse(packet)
        except Malformed as error:
            raise SetError(f"{place}: {error}") from None
        if not messages:
            end = moment(_seconds(packet), False, place)
        for tag, message in messages:
            # A tag of 0 or 1 means "immediately", which is the start. `parse` read others as since
            # 1900.
            seconds = 0.0 if tag is None else tag + UNIX_EPOCH
            when = moment(seconds, False, place)
            cues.append(checker.cue(when, message.address, message.params, place))
    return Set(tuple(cues), end)


def _seconds(packet: bytes) -> float:
    return float(struct.unpack_from(">Q", packet, len(BUNDLE))[0] / 2**32)
