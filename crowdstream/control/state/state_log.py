"""Log of control's state in memory that outlives the process: keys and JSON values, no pickle.

The file has two halves. Each turn appends its changes to one half, as a single record with its
length and checksum. When that half has grown enough, a complete record is written to the other
half. A reader uses the newer half whose first record is valid, up to the first incomplete record.
A process killed in mid-write therefore leaves the previous state and never half of a turn.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from typing import Any

HALF_BYTES = 64 << 20  # address space; only what is written takes up memory
GROWN_BYTES = 1 << 18  # a half may exceed twice its initial size by this much
MAX_BYTES = HALF_BYTES // 4  # of the complete state; beyond that, scheduled messages are dropped

_HEAD = struct.Struct("<II")  # length of the data that follows, checksum
_GENERATION = struct.Struct("<Q")
REMOVED = None  # in a record: the key was removed


def create_state_log() -> int:
    """Create an empty log in anonymous memory; returns its descriptor. Raises `OSError`."""
    fd = os.memfd_create("crowdstream-notes", os.MFD_CLOEXEC)
    os.ftruncate(fd, 2 * HALF_BYTES)
    return fd


class StateLog:
    """State log in the file `fd`, which it owns from now on. For one thread.

    `values` holds the current state by key.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, 2 * HALF_BYTES)
        self._half = 0
        self._generation = 0
        self._at = 0  # offset of the next record within the half
        self._full = 0  # offset beyond which the other half is used
        self.values: dict[str, Any] = {}
        self._read()

    def record(self, changes: Iterable[tuple[str, Any]]) -> None:
        """Record these values, all or none of them; `GONE` removes a key."""
        record: dict[str, Any] = {}
        for key, value in changes:
            record[key] = value
            if value is REMOVED:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        if not record:
            return
        data = _packed(record)
        if self._at + len(data) + _HEAD.size > self._full:
            self._switch_half()
        else:
            self._append(data)

    def close(self) -> None:
        """Release the memory."""
        self._map.close()
        os.close(self.fd)

    # Writing -------------------------------------------------------------------------------

    def _put(self, at: int, data: bytes) -> None:
        self._map[at : at + len(data)] = data

    def _append(self, data: bytes) -> None:
        # The generation seeds the checksum, so that older records in this place are invalid.
        begin = self._half * HALF_BYTES + self._at
        self._put(begin + _HEAD.size, data)
        self._put(begin, _HEAD.pack(len(data), self._checksum(data, self._generation)))
        self._at += _HEAD.size + len(data)

    def _switch_half(self) -> None:
        data = _packed(self.values)
        if len(data) > MAX_BYTES:
            # Scheduled messages are most of it, and can be sent again.
            few = {key: value for key, value in self.values.items() if not key.startswith("wait/")}
            data = _packed(few)
        self._half = 1 - self._half
        self._generation += 1
        self._at = _GENERATION.size
        self._append(data)
        # This half becomes the newer one only when its first record is complete.
        self._put(self._half * HALF_BYTES, _GENERATION.pack(self._generation))
        self._full = 2 * self._at + GROWN_BYTES

    # Reading -------------------------------------------------------------------------------

    def _read(self) -> None:
        found = sorted((self._generation_of(half), half) for half in (0, 1))
        for generation, half in reversed(found):
            if generation and self._read_half(half, generation):
                return
        self._full = 0

    def _generation_of(self, half: int) -> int:
        at = half * HALF_BYTES
        return int(_GENERATION.unpack(self._map[at : at + _GENERATION.size])[0])

    def _read_half(self, half: int, generation: int) -> bool:
        values: dict[str, Any] = {}
        at, count = _GENERATION.size, 0
        while (data := self._record(half, at, generation)) is not None:
            for key, value in json.loads(data).items():
                if value is REMOVED:
                    values.pop(key, None)
                else:
                    values[key] = value
            at += _HEAD.size + len(data)
            count += 1
            if count == 1:
                self._full = 2 * at + GROWN_BYTES
        if count:
            self.values = values
            self._half, self._generation, self._at = half, generation, at
        return count > 0

    def _record(self, half: int, at: int, generation: int) -> bytes | None:
        begin = half * HALF_BYTES + at
        if at + _HEAD.size > HALF_BYTES:
            return None
        length, checksum = _HEAD.unpack(self._map[begin : begin + _HEAD.size])
        if not 0 < length <= HALF_BYTES - at - _HEAD.size:
            return None
        data = self._map[begin + _HEAD.size : begin + _HEAD.size + length]
        return data if self._checksum(data, generation) == checksum else None

    @staticmethod
    def _checksum(data: bytes, generation: int) -> int:
        return zlib.crc32(data, generation & 0xFFFFFFFF)


def _packed(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()
