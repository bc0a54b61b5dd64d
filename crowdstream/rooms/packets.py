"""Packets between rooms: authenticated by a shared key, each accepted once.

    kind (1 byte) · session (8) · counter (8) · payload · HMAC-SHA256 of all that, first 16 bytes

Before a session there is no counter. A follower greets with a random number, the leader returns
one of its own, and both derive the key of the session from the shared key and the two numbers. So
a recorded greeting or packet is of no use: it belongs to another session. Within a session a
counter is accepted once, in any order, if it is among the latest `REPLAY_WINDOW`. Nothing is
encrypted: the names of files and the commands can be read by whoever sees the packets.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from typing import Any, NamedTuple

PROTOCOL = 1
MAC_BYTES = 16
MAX_PACKET = 1400  # bytes: below the MTU of Ethernet and of most tunnels
MAX_PAYLOAD = 1300
REPLAY_WINDOW = 1024
MIN_KEY_BYTES = 16
NONCE_BYTES = 16
SESSION_BYTES = 8

HELLO, CHALLENGE, JOIN, WELCOME, PROBE, ANSWER, DATA, REFUSAL = range(1, 9)
"""Kinds. HELLO and CHALLENGE carry the numbers, JOIN describes the follower and
WELCOME admits it, PROBE and ANSWER
measure the clock and acknowledge, DATA is a part of a message, REFUSAL gives a reason."""

_HEAD = struct.Struct("!B8sQ")


class KeyUnusable(Exception):
    """The file with the shared key can't be used; the message names the fix."""


def read_key(text: bytes) -> bytes:
    """Return the key in the contents of a key file. Raises `KeyUnusable`."""
    key = text.strip()
    if len(key) < MIN_KEY_BYTES:
        raise KeyUnusable(
            f"the key has {len(key)} characters and must have at least {MIN_KEY_BYTES}: make one "
            "with `openssl rand -hex 32`"
        )
    return hashlib.sha256(b"crowdstream rooms" + key).digest()


def session_key(key: bytes, follower: bytes, leader: bytes) -> bytes:
    """Return the key of the session of two random numbers."""
    return hmac.digest(key, b"session" + follower + leader, "sha256")


class Packet(NamedTuple):
    """A packet whose origin is certain, and which has not been received before."""

    kind: int
    session: bytes
    counter: int
    payload: bytes

    def message(self) -> dict[str, Any]:
        """Return the payload, a JSON object. Raises `ValueError`."""
        found = json.loads(self.payload)
        if not isinstance(found, dict):
            raise ValueError("the payload is not an object")
        return found


def session_of(data: bytes) -> bytes:
    """Return the session that a packet claims to belong to; empty if it is too short."""
    return data[1 : 1 + SESSION_BYTES] if len(data) >= _HEAD.size + MAC_BYTES else b""


class Seal:
    """Makes and verifies the packets of one direction pair under one key."""

    def __init__(self, key: bytes, session: bytes, role: bytes) -> None:
        """`role`: b"L" or b"F", so that no packet can be returned to its sender."""
        self._key = key
        self._session = session
        self._own = role
        self._other = b"F" if role == b"L" else b"L"
        self._sent = 0
        self._highest = 0
        self._seen = 0  # bit n: counter `_highest` - n has been received

    def _mac(self, role: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key, role + data, "sha256")[:MAC_BYTES]

    def make(self, kind: int, payload: bytes) -> bytes:
        """Return a packet to send."""
        self._sent += 1
        data = _HEAD.pack(kind, self._session, self._sent) + payload
        return data + self._mac(self._own, data)

    def open(self, data: bytes) -> Packet | None:
        """Return the packet in received bytes; None if it is forged, foreign or a repetition."""
        if not _HEAD.size + MAC_BYTES <= len(data) <= MAX_PACKET + MAC_BYTES:
            return None
        body, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(self._other, body)):
            return None
        kind, session, counter = _HEAD.unpack_from(body)
        if session != self._session or not self._first(counter):
            return None
        return Packet(kind, session, counter, body[_HEAD.size :])

    def _first(self, counter: int) -> bool:
        ahead = counter - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & ((1 << REPLAY_WINDOW) - 1)
            self._highest = counter
            return True
        if -ahead >= REPLAY_WINDOW or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True


def make_open(key: bytes, role: bytes, kind: int, session: bytes, payload: bytes) -> bytes:
    """Return a packet of the greeting, which no session protects from repetition."""
    data = _HEAD.pack(kind, session, 0) + payload
    return data + hmac.digest(key, role + data, "sha256")[:MAC_BYTES]


def read_open(key: bytes, role: bytes, data: bytes) -> Packet | None:
    """Return a packet of the greeting that the other side has sent; None if it is forged.

    `role`: the sender's.
    """
    if not _HEAD.size + MAC_BYTES <= len(data) <= MAX_PACKET + MAC_BYTES:
        return None
    body, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
    if not hmac.compare_digest(mac, hmac.digest(key, role + body, "sha256")[:MAC_BYTES]):
        return None
    kind, session, counter = _HEAD.unpack_from(body)
    return Packet(kind, session, counter, body[_HEAD.size :])
