"""The OSC client behind the view: polls the status, subscribes to events, and stores both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from crowdstream.client.poller import Seen, ServerPoller, connect
from crowdstream.top.event_log import differences, event, is_kept, kept_events
from crowdstream.top.readings import BAD, OK, STALE_SECONDS, WARN, Readings

SILENT_SECONDS = 2.0  # without an answer, after which the server counts as unavailable
POLL_AWAY_SECONDS = 0.5  # between polls of an unavailable server
# A restarted server has no subscriptions, and sends every meter after a new one.
SUBSCRIBE_SECONDS = 5.0
RATE_SECONDS = 2.0  # over which messages are counted
MAX_EARLIER = 50  # events from before the connection that are shown
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
        self._poller = ServerPoller(
            connect(readings.host, readings.port), SILENT_SECONDS, POLL_AWAY_SECONDS
        )
        self._subscribed = float("-inf")
        self._keeps_events = False  # the server has an event log
        self._has_events = False  # its latest events have arrived since it answers
        self._known_events: set[str] = set()  # by their times
        self._counted: tuple[float, int, int] | None = None

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message. If sending fails, the message is lost, as on the network."""
        self._poller.send(address, *arguments)
        self.readings.trouble = self._poller.problem

    def tick(self, now: float) -> None:
        """Process received packets and poll when due. `now`: monotonic seconds."""
        self._receive(now)
        readings = self.readings
        for meter in readings.meters.values():
            # Meters that are not silent were sent since; the packet reporting silence was lost.
            if now - meter.received_at > STALE_SECONDS:
                meter.silence()
        if self._poller.poll(now, 0.9 / self._rate):
            self._set_answering(False, now)
            readings.add_log(self._wall(), BAD, "the server no longer answers")
        readings.trouble = self._poller.problem
        if readings.answers and now - self._subscribed >= SUBSCRIBE_SECONDS:
            self._subscribed = now
            self.send("/notify", 1)
            self.send("/meters", float(self._rate))
            if not self._has_events:
                self.send("/events", MAX_EARLIER)

    def close(self) -> None:
        """Unsubscribe and close the socket."""
        if self.readings.answers:
            self.send("/meters", 0.0)
            self.send("/notify", 0)
        self._poller.close()

    def _receive(self, now: float) -> None:
        for address, values in self._poller.receive(now):
            self._handle(address, values, now)
        self.readings.trouble = self._poller.problem

    def _handle(self, address: str, values: tuple[Any, ...], now: float) -> None:
        readings = self.readings
        if address == "/status.reply":
            self._status(values, now)
        elif address == "/meter":
            match values:
                case [str(name), float(peak), float(rms), float(lufs)]:
                    readings.meter(name).update(peak, rms, lufs, now)
        elif address == "/fail" and values[:1] == ("/status",):
            reason = " ".join(map(str, values[1:]))
            self._poller.problem = f"the server refuses this client: {reason}"
        elif address == "/events.reply":
            self._keeps_events = self._has_events = True
            self._add_earlier(values)
        elif address == "/fail" and values[:1] == ("/events",):
            self._has_events = True  # a server of an earlier version
        elif not (self._keeps_events and is_kept(address, values)):
            if address == "/event":
                self._known_events.add(str(values[0]) if values else "")
            entry = event(address, values)
            if entry:
                readings.add_log(self._wall(), *entry)

    def _add_earlier(self, values: tuple[Any, ...]) -> None:
        events = kept_events(values)
        for stamp, at, grade, text in events:
            if stamp not in self._known_events:
                self.readings.add_earlier(at, grade, text)
        # Older ones are not sent again.
        self._known_events = {stamp for stamp, *_ in events}

    def _set_answering(self, answers: bool, now: float) -> None:
        self.readings.answers, self.readings.since = answers, now
        self._has_events = False
        self._counted = None

    def _status(self, values: tuple[Any, ...], now: float) -> None:
        readings, before = self.readings, self.readings.status
        restarted = self._poller.take_status(values, now) is Seen.RESTARTED
        status = readings.status = self._poller.status
        if not readings.answers:
            self._set_answering(True, now)
            self._subscribed = float("-inf")
            word = "the server answers" + (" again" if before else "")
            readings.add_log(self._wall(), OK, word)
        if restarted:
            self._counted = None
            self._subscribed = float("-inf")
            self._has_events = False
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
            self._counted = now, messages, self._poller.sent
            return
        since, before, sent = self._counted
        if now > since:
            others = max(0, messages - before - (self._poller.sent - sent))
            self.readings.osc_rate = others / (now - since)
        if now - since >= RATE_SECONDS:
            self._counted = now, messages, self._poller.sent
