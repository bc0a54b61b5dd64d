"""A follower's side: measures the leader's clock, steers the output, and receives the commands."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from crowdstream.rooms.clocks import CardClock, Reading, RemoteClock
from crowdstream.rooms.leader import ANSWER_FORMAT, PROBE_FORMAT
from crowdstream.rooms.messages import Overflow, Receiver
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
    Seal,
    make_open,
    read_open,
    session_key,
)
from crowdstream.rooms.steering import Place, Steering, leaders_place, own_place
from crowdstream.timing.steering import OutputMark

# Pauses between two exchanges: many at first, because one of the quickest decides.
FAST_SECONDS, PROBE_SECONDS = 0.01, 0.02
FAST_EXCHANGES = 200
SETTLED_EXCHANGES, SETTLED_SECONDS = 40, 0.6  # before the room counts its frames
STEER_SECONDS = 0.25  # between two computations of the rate
HELLO_SECONDS, MAX_HELLO_SECONDS = 0.2, 2.0  # between two greetings; doubles
REJOIN_SECONDS, JOIN_SECONDS = 0.05, 2.0  # between two attempts to join, and in total
SILENT_SECONDS = 2.0  # without a packet of the leader, after which it counts as lost


class Follower:
    """One room. For one thread.

    `send(data)` sends a packet to the leader; `steer(rate)` sets the rate of the output;
    `deliver(message, shift)` passes a message of the leader on; `report(event, values)` reports to
    control.
    """

    def __init__(
        self,
        key: bytes,
        about: dict[str, Any],
        sample_rate: float,
        send: Callable[[bytes], None],
        steer: Callable[[float], None],
        deliver: Callable[[dict[str, Any], int], None],
        report: Callable[[str, dict[str, Any]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`about`: name and requirements, for the leader."""
        self._key = key
        self._about = about
        self._send = send
        self._steer = steer
        self._deliver = deliver
        self._report = report
        self._monotonic = monotonic
        self.clock = RemoteClock()
        self.card = CardClock(sample_rate)
        self.steering = Steering(sample_rate)
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._seal: Seal | None = None
        self._join_at = self._join_until = 0.0
        self.joined = False
        self.reason = "it has not answered yet"
        self._receiver = Receiver()
        self._held: list[dict[str, Any]] = []
        # Whether the shift was computed in this session: the leader may count from 0 again.
        self._placed = False
        self._number = 0
        self._fast = 0
        self._hello_at = self._probe_at = self._steer_at = 0.0
        self._hello_pause = HELLO_SECONDS
        self._heard_at = self._joined_at = 0.0
        self._leader: Place | None = None
        self._mark: OutputMark | None = None
        self.reading: Reading | None = None
        self.rate = 0.0
        self.forged = 0
        self.losses = 0
        self.sent = 0

    # Packets -----------------------------------------------------------------------------

    def receive(self, data: bytes, at: float) -> None:
        """Handle a packet that arrived at `at` (monotonic seconds)."""
        packet = self._seal.open(data) if self._seal is not None else None
        if packet is None:
            if not self._challenged(data):
                self.forged += 1
            return
        self._heard_at = at
        if packet.kind == REFUSAL:
            self._refused(packet.payload.decode(errors="replace"))
            return
        if not self.joined:
            self.joined, self._joined_at = True, at
            self._hello_pause = HELLO_SECONDS
            self.reason = ""
            self._report("connected", {})
        if packet.kind == ANSWER:
            self._answered(packet.payload, at)
        elif packet.kind == DATA:
            self._take(packet.payload)

    def _challenged(self, data: bytes) -> bool:
        packet = read_open(self._key, b"L", data)
        if packet is None or packet.kind != CHALLENGE:
            return False
        own, leaders = packet.payload[:NONCE_BYTES], packet.payload[NONCE_BYTES:-1]
        if own != self._nonce or len(leaders) != NONCE_BYTES:
            return False
        if self._seal is not None:
            return True  # a second challenge to the same greeting
        if packet.payload[-1] != PROTOCOL:
            self._refused("it has another version of the program")
            return True
        self._seal = Seal(session_key(self._key, own, leaders), packet.session, b"F")
        self._receiver = Receiver()
        self._join_at = 0.0
        self._join_until = self._monotonic() + JOIN_SECONDS
        return True

    def _refused(self, reason: str) -> None:
        if self.reason != reason:
            self.reason = reason
            self._report("refused", {"reason": reason})
        self._hello_pause = MAX_HELLO_SECONDS
        self._part()

    def _part(self) -> None:
        # End the session. What is known of the clocks stays valid for a while.
        if self.steering.shift is not None:
            self._steer(self.steering.drift)
        self._seal, self.joined = None, False
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._hello_at = self._monotonic() + self._hello_pause
        self._fast = 0
        self._held = []
        self._placed = False

    def _answered(self, payload: bytes, at: float) -> None:
        if len(payload) != ANSWER_FORMAT.size:
            self.forged += 1
            return
        _number, sent, received, replied, when, frame, rate, _ = ANSWER_FORMAT.unpack(payload)
        self._fast += 1
        if self.clock.add(sent, received, replied, at) and rate > 0.0:
            self._leader = Place(when, frame, rate)

    def _take(self, payload: bytes) -> None:
        try:
            messages = self._receiver.receive(payload)
        except (Overflow, ValueError):
            self._lose("it has sent a message that can't be read")
            return
        if messages:
            self._probe_at = 0.0  # acknowledge soon
        for message in messages:
            if self._placed and self.steering.shift is not None:
                self._deliver(message, self.steering.shift)
            else:
                self._held.append(message)

    def _lose(self, reason: str) -> None:
        self.losses += 1
        self.reason = reason
        self._report("lost", {"reason": reason})
        self._part()

    # Time ----------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether the leader's clock and the own card are known well enough to begin."""
        return self.clock.exchanges >= SETTLED_EXCHANGES and self._fast >= SETTLED_EXCHANGES // 2

    def mark(self, mark: OutputMark) -> None:
        """Take the latest request of the sound card."""
        if self._mark is None or mark.ns != self._mark.ns:
            self._mark = mark
            self.card.add(mark.ns * 1e-9, mark.out)

    def turn(self, now: float, latency: float) -> float:
        """Send what is due, and steer; return when something is due again (monotonic seconds).

        `latency`: s from the request for a block to its sound.
        """
        if self._seal is None:
            if now >= self._hello_at:
                self._hello_at = now + self._hello_pause
                self._hello_pause = min(2.0 * self._hello_pause, MAX_HELLO_SECONDS)
                self._send(
                    make_open(
                        self._key, b"F", HELLO, bytes(8), self._nonce + bytes((PROTOCOL,))
                    )
                )
        elif not self.joined:
            if now >= self._join_until:  # the leader was restarted since its challenge
                self._part()
            elif now >= self._join_at:
                self._join_at = now + REJOIN_SECONDS
                about = self._nonce + json.dumps(self._about).encode()
                self._send(self._seal.make(JOIN, about))
        elif now - self._heard_at > SILENT_SECONDS:
            self._lose("it does not answer")
        if self.joined and now >= self._probe_at:
            self._probe(now)
        if now >= self._steer_at and self._leader is not None and self.settled:
            self._steer_at = now + STEER_SECONDS
            self._update(now, latency)
        if not self.joined:
            return min(self._hello_at if self._seal is None else self._join_at, now + STEER_SECONDS)
        return min(self._probe_at, now + STEER_SECONDS)

    def _probe(self, now: float) -> None:
        assert self._seal is not None
        self._number += 1
        before, mask = self._receiver.acknowledgement()
        error = 1000.0 * self.reading.error if self.reading else 0.0
        fast = self._fast < FAST_EXCHANGES
        self._probe_at = now + (FAST_SECONDS if fast else PROBE_SECONDS)
        self.sent += 1
        self._send(
            self._seal.make(
                PROBE,
                PROBE_FORMAT.pack(
                    self._number & 0xFFFFFFFF, self._monotonic(), before, mask,
                    1000.0 * self.steering.deviation, error, int(self.steering.in_step),
                ),
            )
        )

    def _update(self, now: float, latency: float) -> None:
        self.reading = self.clock.read(now)
        card = self.card.read(now)
        mark = self._mark
        if self.reading is None or card is None or mark is None or self._leader is None:
            return
        own = own_place(card, now, mark.out, mark.place, mark.rate, latency)
        leader = leaders_place(self.reading, self._leader, now)
        before = self.steering.shift
        self.rate = self.steering.update(own, leader, card)
        self._steer(self.rate)
        shift = self.steering.shift
        assert shift is not None
        if before != shift:
            self._report("shift", {"shift": shift})
        self._placed = True
        held, self._held = self._held, []
        for message in held:
            self._deliver(message, shift)
