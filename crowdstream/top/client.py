"""The OSC client behind the view: polls the status, subscribes to events, and stores both."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from crowdstream.osc.codec import Malformed, build, parse
from crowdstream.top.event_log import differences, event
from crowdstream.top.readings import BAD, OK, STALE_SECONDS, WARN, Readings

SILENT_SECONDS = 2.0  # without an answer, after which the server counts as unavailable
POLL_AWAY_SECONDS = 0.5  # between polls of an unavailable server
# A restarted server has no subscriptions, and sends every meter after a new one.
SUBSCRIBE_SECONDS = 5.0
RATE_SECONDS = 2.0  # over which messages are counted
MAX_PACKET_BYTES = 65536
MAX_PACKETS = 500  # per tick, so that a flood does not block the keys
STATUS_POSITIONAL_FIELDS = 9  # values before the named ones, as in SuperCollider
COUNTED = ("underruns", "missing_pages", "underruns_engine", "underruns_device_lost")


class Client:
    """Connection to one server. Call `tick` a few times per second."""

    def __init__(
        self,
        readings: Readings,
        rate: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`rate`: polls and meter updates per second. Raises `OSError` for an unknown host."""
        self.readings = readings
        self._rate = rate
        self._wall = wall
        found = socket.getaddrinfo(readings.host, readings.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._socket.connect(address)
        self._polled_at = self._subscribed = self._answered_at = float("-inf")
        self._sent = 0
        self._counted: tuple[float, int, int] | None = None

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message. If sending fails, the message is lost, as on the network."""
        self._sent += 1
        try:
            self._socket.send(build(address, arguments))
        except OSError as error:
            self._note_refusal(error)

    def tick(self, now: float) -> None:
        """Process received packets and poll when due. `now`: monotonic seconds."""
        self._receive(now)
        readings = self.readings
        for meter in readings.meters.values():
            # Meters that are not silent were sent since; the packet reporting silence was lost.
            if now - meter.received_at > STALE_SECONDS:
                meter.silence()
        if readings.answers and now - self._answered_at > SILENT_SECONDS:
            self._set_answering(False, now)
            readings.trouble = "no answer"
            readings.add_log(self._wall(), BAD, "the server no longer answers")
        every = 1.0 / self._rate if readings.answers else POLL_AWAY_SECONDS
        if now - self._polled_at >= every * 0.9:
            self._polled_at = now
            self.send("/status")
        if readings.answers and now - self._subscribed >= SUBSCRIBE_SECONDS:
            self._subscribed = now
            self.send("/notify", 1)
            self.send("/meters", float(self._rate))

    def close(self) -> None:
        """Unsubscribe and close the socket."""
        if self.readings.answers:
            self.send("/meters", 0.0)
            self.send("/notify", 0)
        self._socket.close()

    def _note_refusal(self, error: OSError) -> None:
        # The system reports a port without a server in response to the previous packet.
        if isinstance(error, ConnectionRefusedError):
            self.readings.trouble = "no program listens on that port"
        else:
            self.readings.trouble = error.strerror or "the host is unreachable"

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
                    self._handle(message.address, message.params, now)

    def _handle(self, address: str, values: tuple[Any, ...], now: float) -> None:
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
                    readings.meter(name).update(peak, rms, lufs, now)
        elif address == "/fail" and values[:1] == ("/status",):
            readings.trouble = f"the server refuses this client: {' '.join(map(str, values[1:]))}"
        else:
            entry = event(address, values)
            if entry:
                readings.add_log(self._wall(), *entry)

    def _set_answering(self, answers: bool, now: float) -> None:
        self.readings.answers, self.readings.since = answers, now
        self._counted = None

    def _status(self, status: dict[str, Any], now: float) -> None:
        readings, before = self.readings, self.readings.status
        self._answered_at = now
        readings.status = status
        frame = readings.count("frame")
        restarted = bool(before) and frame < int(before.get("frame", 0))
        if not readings.answers:
            self._set_answering(True, now)
            self._subscribed = float("-inf")
            word = "the server answers" + (" again" if before else "")
            readings.add_log(self._wall(), OK, word)
        if restarted:
            self._counted = None
            self._subscribed = float("-inf")
            readings.add_log(self._wall(), WARN, "the server was restarted")
            for meter in readings.meters.values():
                meter.silence()
        elif before:
            for entry in differences(before, status):
                readings.add_log(self._wall(), *entry)
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
