"""The OSC client behind the picture: asks for the status, subscribes, and keeps what it hears."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from crowdstream.osc.codec import Malformed, build, parse
from crowdstream.top.event_log import differences, event
from crowdstream.top.readings import BAD, OK, STALE_SECONDS, WARN, Readings

SILENT_SECONDS = 2.0  # without an answer, after which a server counts as away
ASK_AWAY_SECONDS = 0.5  # between questions to a server that is away
# A server that was started anew knows of no subscription, and tells each meter at a new one.
SUBSCRIBE_SECONDS = 5.0
RATE_SECONDS = 2.0  # over which messages are counted
MAX_PACKET_BYTES = 65536  # bytes of a packet
MAX_PACKETS = 500  # read at once, so that a flood does not stop the keys
STATUS_POSITIONAL_FIELDS = 9  # values before the named ones, as SuperCollider has them
COUNTED = ("underruns", "missing_pages", "underruns_engine", "underruns_device_lost")


class Client:
    """Talks to one server. Call `tick` a few times a second."""

    def __init__(
        self,
        readings: Readings,
        rate: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`rate`: questions and meters a second. Raises OSError where there is no such host."""
        self.readings = readings
        self._rate = rate
        self._wall = wall
        found = socket.getaddrinfo(readings.host, readings.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._socket.connect(address)
        self._asked = self._subscribed = self._heard = float("-inf")
        self._sent = 0
        self._counted: tuple[float, int, int] | None = None

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message; what can't be sent is lost, as in the network."""
        self._sent += 1
        try:
            self._socket.send(build(address, arguments))
        except OSError as error:
            self._note_refusal(error)

    def tick(self, now: float) -> None:
        """Take what has come, ask anew. `now`: monotonic seconds."""
        self._receive(now)
        readings = self.readings
        for meter in readings.meters.values():
            # Each that is not silent was told anew since: the packet that said so was lost.
            if now - meter.heard > STALE_SECONDS:
                meter.silence()
        if readings.answers and now - self._heard > SILENT_SECONDS:
            self._turn(False, now)
            readings.trouble = "no answer"
            readings.say(self._wall(), BAD, "the server does not answer any more")
        every = 1.0 / self._rate if readings.answers else ASK_AWAY_SECONDS
        if now - self._asked >= every * 0.9:
            self._asked = now
            self.send("/status")
        if readings.answers and now - self._subscribed >= SUBSCRIBE_SECONDS:
            self._subscribed = now
            self.send("/notify", 1)
            self.send("/meters", float(self._rate))

    def close(self) -> None:
        """Say that no more is wanted, and free the port."""
        if self.readings.answers:
            self.send("/meters", 0.0)
            self.send("/notify", 0)
        self._socket.close()

    def _note_refusal(self, error: OSError) -> None:
        # A port without a server is told by the system, for the packet before.
        if isinstance(error, ConnectionRefusedError):
            self.readings.trouble = "nothing listens there"
        else:
            self.readings.trouble = error.strerror or "no way there"

    def _receive(self, now: float) -> None:
        for _ in range(MAX_PACKETS):
            try:
                packet = self._socket.recv(MAX_PACKET_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._note_refusal(error)
                continue
            with contextlib.suppress(Malformed):
                for _time, message in parse(packet):
                    self._take(message.address, message.params, now)

    def _take(self, address: str, values: tuple[Any, ...], now: float) -> None:
        readings = self.readings
        if address == "/status.reply":
            self._status(
                dict(
                    zip(
                        values[STATUS_POSITIONAL_FIELDS::2],
                        values[STATUS_POSITIONAL_FIELDS + 1 :: 2],
                        strict=False,
                    )
                ),
                now,
            )
        elif address == "/meter":
            match values:
                case [str(name), float(peak), float(rms), float(lufs)]:
                    readings.meter(name).take(peak, rms, lufs, now)
        elif address == "/fail" and values[:1] == ("/status",):
            readings.trouble = f"it answers, but not to strangers: {' '.join(map(str, values[1:]))}"
        else:
            told = event(address, values)
            if told:
                readings.say(self._wall(), *told)

    def _turn(self, answers: bool, now: float) -> None:
        self.readings.answers, self.readings.since = answers, now
        self._counted = None

    def _status(self, status: dict[str, Any], now: float) -> None:
        readings, before = self.readings, self.readings.status
        self._heard = now
        readings.status = status
        frame = readings.count("frame")
        anew = bool(before) and frame < int(before.get("frame", 0))
        if not readings.answers:
            self._turn(True, now)
            self._subscribed = float("-inf")
            word = "the server answers" + (" again" if before else "")
            readings.say(self._wall(), OK, word)
        if anew:
            self._counted = None
            self._subscribed = float("-inf")
            readings.say(self._wall(), WARN, "the server has been started anew")
            for meter in readings.meters.values():
                meter.silence()
        elif before:
            for told in differences(before, status):
                readings.say(self._wall(), *told)
            if any(status.get(name, 0) != before.get(name, 0) for name in COUNTED):
                readings.gap_at = now
        self._count(now)

    def _count(self, now: float) -> None:
        messages = self.readings.count("messages")
        if self._counted is None:
            self._counted = now, messages, self._sent
            return
        since, before, sent = self._counted
        if now > since:
            others = max(0, messages - before - (self._sent - sent))
            self.readings.osc_rate = others / (now - since)
        if now - since >= RATE_SECONDS:
            self._counted = now, messages, self._sent
