"""Connection to a server: reliable commands, status polling, and detection of a restart.

Tell the DJ's own commands apart from those of others.

`/changed` reports which command was carried out, but not its sender. Each command sent is
therefore kept until the server reports it; any other report stems from another client.
"""

from __future__ import annotations

import math
import struct
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from crowdstream.client.poller import Seen, ServerPoller, Transport
from crowdstream.client.results import Status
from crowdstream.dj.setfile.timed_commands import TimedCommand
from crowdstream.osc.codec import Double

KEPT_SECONDS = 120.0  # after which an unreported command is forgotten
HORIZON_SECONDS = 1.5  # look-ahead: after a person takes a deck, sent commands act this long

Key = tuple[str, tuple[Any, ...]]


def key(address: str, arguments: tuple[Any, ...]) -> Key:
    """Return a command as the server reports it: numbers rounded to 32-bit floats."""
    return address, tuple(_rounded(value) for value in arguments)


def _rounded(value: Any) -> Any:
    if isinstance(value, int | float):
        try:
            return struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            return float(value)
    return value


class OwnCommandFilter:
    """The DJ's own commands that the server has not reported yet."""

    def __init__(self) -> None:
        self._sent: dict[Key, list[float]] = defaultdict(list)
        self._cleaned = 0.0

    def expect(self, address: str, arguments: tuple[Any, ...], now: float) -> None:
        """Register a command that is sent; for `/clock/at`, also the command it carries."""
        self._sent[key(address, arguments)].append(now + KEPT_SECONDS)
        if address == "/clock/at":
            self.expect(str(arguments[1]), arguments[2:], now)

    def own(self, address: str, arguments: tuple[Any, ...]) -> bool:
        """Return whether a reported command was the DJ's own; each one matches only once."""
        found = key(address, arguments)
        waiting = self._sent.get(found)
        if not waiting:
            return False
        waiting.pop(0)
        if not waiting:
            del self._sent[found]
        return True

    def forget_old(self, now: float) -> None:
        """Forget commands that were never reported. Call it regularly."""
        if now < self._cleaned + 1.0:
            return
        self._cleaned = now
        for found in list(self._sent):
            left = [until for until in self._sent[found] if until > now]
            if left:
                self._sent[found] = left
            else:
                del self._sent[found]


STATUS_SECONDS = 0.4  # between two status requests
STALE_SECONDS = 1.2  # age of the status from which nothing is decided
SILENT_SECONDS = 2.5  # without a reply, the server counts as disconnected
HEARTBEAT_SECONDS = 1.0  # between two heartbeats
SUBSCRIBE_SECONDS = 5.0  # between two subscriptions: the server may have been replaced
CONFIRM_SECONDS = 1.0  # after which an unreported command counts as lost
AWAY_SECONDS = 0.8  # without a reply, after which commands may still wait for the server
MAX_TRIES = 3
MAX_A_TICK = 8  # packets sent per tick: in a flood, the server reports fewer changes

Event = tuple[str, tuple[Any, ...]]


class _Sent(NamedTuple):
    # A command that the server has yet to report. `at`: monotonic seconds.
    at: float
    tries: int
    arguments: tuple[Any, ...]


class ServerLink:
    """Connection to a server and its last known status. Call `tick` about every 25 ms."""

    def __init__(
        self, transport: Transport, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.poller = ServerPoller(transport, SILENT_SECONDS)
        self._now = monotonic
        self.own_commands = OwnCommandFilter()
        self.restarted = False
        """The server has restarted since this was set to False."""
        self._subscribed_at = self._heartbeat_at = self._back_at = -math.inf
        self._unsent: deque[tuple[str, tuple[Any, ...], bool]] = deque()
        self._waiting: dict[Key, list[_Sent]] = {}

    # Sending

    def send(self, address: str, *arguments: Any, reliable: bool = True) -> None:
        """Queue a command. `reliable`: send it again if the server does not report it."""
        self._unsent.append((address, arguments, reliable))

    def schedule(self, beat: float, address: str, *arguments: Any) -> None:
        """Schedule a command for a beat of the server's clock."""
        self.send("/clock/at", Double(beat), address, *arguments)

    def _transmit(
        self, address: str, arguments: tuple[Any, ...], reliable: bool, tries: int
    ) -> None:
        now = self._now()
        if reliable:
            if not tries:
                self.own_commands.expect(address, arguments, now)
            waiting = self._waiting.setdefault(key(address, arguments), [])
            waiting.append(_Sent(now, tries, arguments))
        self.poller.send(address, *arguments)  # the next status shows whether it is connected

    # Receiving

    def tick(self) -> list[Event]:
        """Send queued commands and status requests; return the messages that have arrived."""
        now = self._now()
        events: list[Event] = []
        for address, values in self.poller.receive(now):
            self._take(address, values, now, events)
        self.poller.poll(now, STATUS_SECONDS)
        if self.connected:
            self._introduce(now)
            for _ in range(min(MAX_A_TICK, len(self._unsent))):
                address, arguments, reliable = self._unsent.popleft()
                self._transmit(address, arguments, reliable, 0)
            self._retry(now)
        self.own_commands.forget_old(now)
        return events

    def _introduce(self, now: float) -> None:
        if now - self._subscribed_at >= SUBSCRIBE_SECONDS:
            first = self._subscribed_at == -math.inf
            self._subscribed_at = now
            self._transmit("/changes/subscribe", (1,), False, 0)
            self._transmit("/notify", (1,), False, 0)
            if first:
                self._heartbeat_at = now
                self._transmit("/dj/register", ("begin",), False, 0)
                self._transmit("/dj/status", (), False, 0)
        if now - self._heartbeat_at >= HEARTBEAT_SECONDS:
            self._heartbeat_at = now
            self._transmit("/dj/register", ("on",), False, 0)

    def _retry(self, now: float) -> None:
        # While no control process runs, commands wait in its socket: another copy would be carried
        # out as well, and its report would be taken for the command of a person.
        if now - self.poller.replied_at > AWAY_SECONDS:
            return
        for one in list(self._waiting):
            late = [
                each for each in self._waiting[one]
                if now - max(each.at, self._back_at) > CONFIRM_SECONDS
            ]  # fmt: skip
            for sent in late:
                self._waiting[one].remove(sent)
                if sent.tries + 1 < MAX_TRIES:
                    # Exactly as before: after a day at 128 BPM, a beat that is rounded as in
                    # reports would be 8 ms off.
                    self._transmit(one[0], sent.arguments, True, sent.tries + 1)
            if not self._waiting[one]:
                del self._waiting[one]

    def _take(self, address: str, values: tuple[Any, ...], now: float, events: list[Event]) -> None:
        if address == "/status.reply":
            self._take_status(values, now)
        elif address == "/changed" and values:
            self._confirm(key(str(values[0]), values[1:]))
            if not self.own_commands.own(str(values[0]), values[1:]):
                events.append((address, values))
        elif address == "/fail" and values:
            about = str(values[0])
            for one in [one for one in self._waiting if one[0] == about]:
                del self._waiting[one]
            events.append((address, values))
        elif address == "/done" and values:
            # The report may be lost: a load that was sent again would undo what follows it.
            sent = next((one for one in self._waiting if one[0] == str(values[0])), None)
            if sent is not None:
                self._confirm(sent)
            events.append((address, values))
        else:
            events.append((address, values))

    def _confirm(self, one: Key) -> None:
        waiting = self._waiting.get(one)
        if waiting:
            waiting.pop(0)
            if not waiting:
                del self._waiting[one]

    def _take_status(self, values: tuple[Any, ...], now: float) -> None:
        if now - self.poller.replied_at > AWAY_SECONDS:
            self._back_at = now
        if self.poller.take_status(values, now) is Seen.RESTARTED:
            self.restarted = True
            self._subscribed_at = -math.inf
            self._unsent.clear()
            self._waiting.clear()

    # Status

    @property
    def status(self) -> Status:
        """The named values of the last status."""
        return self.poller.status

    @property
    def connected(self) -> bool:
        """Whether the server answers."""
        return self.poller.connected

    @property
    def problem(self) -> str:
        """The reason why the server does not answer."""
        return self.poller.problem

    @property
    def bpm(self) -> float:
        """Tempo of the server's clock in beats per minute."""
        return float(self.status.get("bpm", 120.0))

    @property
    def beat(self) -> float:
        """Present beat of the server's clock, extrapolated from the last status."""
        passed = self._now() - self.poller.status_at
        return float(self.status.get("beat", 0.0)) + passed * self.bpm / 60.0

    def fresh(self) -> bool:
        """Return whether the status is recent enough to decide from."""
        return self.connected and self._now() - self.poller.replied_at < STALE_SECONDS

    def deck(self, letter: str, name: str) -> Any:
        """Return a field of a deck, such as `deck.A.state`, from the status."""
        return self.status.get(f"deck.{letter}.{name}", 0)

    def runs(self, letter: str) -> bool:
        """Return whether a deck is playing; one whose file is broken, within the part in memory."""
        state, buffered = self.deck(letter, "state"), float(self.deck(letter, "buffered"))
        return state == "playing" or (state == "broken" and buffered > 0)

    def audible(self, letter: str) -> bool:
        """Return whether a deck is playing with its fader up."""
        return self.runs(letter) and float(self.deck(letter, "level")) > 0.01

    def close(self) -> None:
        """Sign off and close the socket."""
        if self.connected:
            self._transmit("/dj/register", ("end",), False, 0)
            self._transmit("/changes/subscribe", (0,), False, 0)
            self._transmit("/notify", (0,), False, 0)
        self.poller.close()


class CommandScheduler:
    """Sends commands shortly before their beats. `ours`: whether a command is still the DJ's."""

    def __init__(self, link: ServerLink, ours: Callable[[TimedCommand], bool]) -> None:
        self._link = link
        self._ours = ours
        self._commands: list[TimedCommand] = []

    def add(self, commands: Iterable[TimedCommand]) -> None:
        """Schedule commands."""
        self._commands += commands
        self._commands.sort(key=lambda command: command.beat)

    def clear(self) -> None:
        """Drop all commands that have not been sent."""
        self._commands = []

    def decks(self) -> Iterator[str]:
        """Yield the decks with commands that have not been sent."""
        return (command.address[6:7] for command in self._commands)

    def now(self, commands: Iterable[TimedCommand]) -> None:
        """Send commands at once, ignoring their beats."""
        for command in commands:
            if self._ours(command):
                self._link.send(command.address, *command.args)

    def tick(self, beat: float) -> None:
        """Send commands that are due soon; those that take no beat are sent when they are due."""
        soon = beat + HORIZON_SECONDS * self._link.bpm / 60.0
        left = []
        for command in self._commands:
            if command.beat > (soon if command.takes_beat else beat):
                left.append(command)
            elif self._ours(command):
                if command.takes_beat:
                    self._link.schedule(command.beat, command.address, *command.args)
                else:
                    self._link.send(command.address, *command.args)
        self._commands = left
