"""The leader's side: admits rooms, answers their requests for the time, and sends commands."""

from __future__ import annotations

import hmac
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crowdstream.rooms.messages import Overflow, Sender
from crowdstream.rooms.packets import (
    ANSWER,
    CHALLENGE,
    DATA,
    HELLO,
    JOIN,
    NONCE_BYTES,
    PROBE,
    PROTOCOL,
    REFUSAL,
    SESSION_BYTES,
    WELCOME,
    Packet,
    Seal,
    make_open,
    read_open,
    session_key,
    session_of,
)
from crowdstream.rooms.steering import Place

MAX_ROOMS = 32
SILENT_SECONDS = 3.0  # without a packet, after which a room counts as lost
RESTART_SECONDS = 0.3  # the shortest time in which a room's process is restarted
MAX_USED = 65536  # sessions that have ended: their packets are not accepted again
MAX_NAME = 64
_OF_A_SESSION = bytes((JOIN,)), bytes((PROBE,))

PROBE_FORMAT = struct.Struct("!IdIQffB")
"""Number, time, parts received (see `Receiver.acknowledgement`), deviation and error in ms, 1: in
step."""
ANSWER_FORMAT = struct.Struct("!Iddddddd")
"""Number, the follower's time, time of arrival, time of the answer; the frame that is audible: its
time, number and rate; output latency in s."""


@dataclass
class Room:
    """A follower. `deviation` and `error` in ms, as it reports them."""

    name: str
    address: Any
    seal: Seal
    heard_at: float
    sender: Sender = field(default_factory=Sender)
    deviation: float = 0.0
    error: float = 0.0
    in_step: bool = False


class Leader:
    """Serves the rooms. For one thread.

    `send(data, address)` sends a packet; `place(now)` returns what is audible here, None if nothing
    is known yet; `report(event, values)` reports to control.
    """

    def __init__(
        self,
        key: bytes,
        requirements: dict[str, Any],
        send: Callable[[bytes, Any], None],
        place: Callable[[float], Place | None],
        report: Callable[[str, dict[str, Any]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`requirements`: values that a room must share, by name."""
        self._key = key
        self._requirements = requirements
        self._send = send
        self._place = place
        self._report = report
        self._monotonic = monotonic
        self._begun_at = monotonic()
        self._secret = secrets.token_bytes(32)
        self.rooms: dict[bytes, Room] = {}
        self._used: deque[bytes] = deque(maxlen=MAX_USED)
        self._used_set: set[bytes] = set()
        self.forged = 0
        """Packets that no room has made, or that were repeated."""
        self.refused = 0

    def receive(self, data: bytes, address: Any, at: float) -> None:
        """Handle a packet that arrived at `at` (monotonic seconds)."""
        room = self.rooms.get(session_of(data))
        if room is None:
            self._greet(data, address, at)
            return
        packet = room.seal.open(data)
        if packet is None:
            self.forged += 1
            return
        room.heard_at = at
        room.address = address
        if packet.kind == JOIN:  # the welcome was lost
            self._send(room.seal.make(WELCOME, b""), address)
        elif packet.kind == PROBE:
            self._answer(room, packet.payload, at)

    def _derive(self, nonce: bytes) -> tuple[bytes, bytes]:
        # Session and own random number for a greeting. Nothing is stored: they cost nothing.
        made = hmac.digest(self._secret, nonce, "sha256")
        return made[:SESSION_BYTES], made[SESSION_BYTES : SESSION_BYTES + NONCE_BYTES]

    def _greet(self, data: bytes, address: Any, at: float) -> None:
        packet = read_open(self._key, b"F", data)
        whole = packet is not None and len(packet.payload) == NONCE_BYTES + 1
        if packet is not None and packet.kind == HELLO and whole:
            session, own = self._derive(packet.payload[:NONCE_BYTES])
            reply = packet.payload[:NONCE_BYTES] + own + bytes((PROTOCOL,))
            self._send(make_open(self._key, b"L", CHALLENGE, session, reply), address)
            return
        if data[:1] == bytes((JOIN,)) and self._join(data, address, at):
            return
        if data[:1] in _OF_A_SESSION and at < self._begun_at + SILENT_SECONDS:
            return  # of a room that has not noticed yet that this process is a new one
        self.forged += 1

    def _join(self, data: bytes, address: Any, at: float) -> bool:
        # Whether a packet opens a session. The number in it is verified with the packet.
        session = session_of(data)
        nonce = data[17 : 17 + NONCE_BYTES]
        if len(nonce) < NONCE_BYTES or session in self._used_set:
            return False
        derived, own = self._derive(nonce)
        if not hmac.compare_digest(derived, session):
            return False
        seal = Seal(session_key(self._key, nonce, own), session, b"L")
        packet = seal.open(data)
        if packet is None:
            return False
        try:
            about = Packet(packet.kind, session, 0, packet.payload[NONCE_BYTES:]).message()
        except ValueError:
            return False
        self._retire(session)
        name = str(about.get("name", "room"))[:MAX_NAME]
        self._forget_former(name, address, at)
        reason = self._unsuitable(about)
        if reason:
            self.refused += 1
            self._send(seal.make(REFUSAL, reason.encode()[:500]), address)
            self._report("refused", {"name": name, "reason": reason})
            return True
        room = Room(name, address, seal, at)
        self.rooms[session] = room
        self._send(seal.make(WELCOME, b""), address)
        self._report("joined", {"room": session.hex(), "name": room.name})
        return True

    def _forget_former(self, name: str, address: Any, at: float) -> None:
        # A room whose process was restarted is back, and not lost when its former session ends.
        # Another one of that name on the same machine is not silent.
        for session, room in list(self.rooms.items()):
            same = room.name == name and room.address[0] == address[0]
            if same and at - room.heard_at > RESTART_SECONDS:
                del self.rooms[session]

    def _retire(self, session: bytes) -> None:
        if len(self._used) == MAX_USED:
            self._used_set.discard(self._used[0])
        self._used.append(session)
        self._used_set.add(session)

    def _unsuitable(self, about: dict[str, Any]) -> str:
        if len(self.rooms) >= MAX_ROOMS:
            return f"{MAX_ROOMS} rooms are the maximum"
        for name, value in self._requirements.items():
            if about.get(name) != value:
                shown = name.replace("_", " ")
                return f"its {shown} is {about.get(name)}, the leader's is {value}"
        return ""

    def _answer(self, room: Room, payload: bytes, at: float) -> None:
        if len(payload) != PROBE_FORMAT.size:
            self.forged += 1
            return
        number, sent, before, mask, deviation, error, in_step = PROBE_FORMAT.unpack(payload)
        room.sender.acknowledge(before, mask)
        room.deviation, room.error, room.in_step = deviation, error, bool(in_step)
        place = self._place(at)
        if place is None:
            return
        now = self._monotonic()
        reply = ANSWER_FORMAT.pack(number, sent, at, now, place.at, place.frame, place.rate, 0.0)
        self._send(room.seal.make(ANSWER, reply), room.address)

    def queue(self, message: dict[str, Any], to: str = "") -> None:
        """Queue a message for all rooms, or for the one whose session is `to`."""
        for session, room in list(self.rooms.items()):
            if to and session.hex() != to:
                continue
            try:
                room.sender.add(message)
            except Overflow as error:
                self._drop(session, str(error))

    def turn(self, now: float) -> float:
        """Send what is due; return when something is due again (monotonic seconds)."""
        due = now + 0.5
        for session, room in list(self.rooms.items()):
            if now - room.heard_at > SILENT_SECONDS:
                self._drop(session, "it does not answer")
                continue
            for payload in room.sender.due(now):
                self._send(room.seal.make(DATA, payload), room.address)
            at = room.sender.next_at()
            due = min(due, now + 0.5 if at is None else at)
        return due

    def _drop(self, session: bytes, reason: str) -> None:
        room = self.rooms.pop(session)
        self._report("left", {"name": room.name, "reason": reason})

    @property
    def repeated(self) -> int:
        """Parts that were sent again."""
        return sum(room.sender.repeated for room in self.rooms.values())
