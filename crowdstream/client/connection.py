"""The protocol without input and output: calls, their replies, repetition and subscriptions.

Each call is one packet, a bundle of its command and of `/ping` with a number of its own. The server
handles packets of a sender in order and sends every `/fail` of a command before the `/pong` behind
it. So a call without a reply of its own is complete with its `/pong`, and a failure belongs to the
call whose `/pong` follows it. Without a `/pong` the packet, or the reply, was lost: the packet is
sent again if its commands are idempotent, or if the system has reported that no program listens on
the port, so that it cannot have arrived.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crowdstream.client.calls import Reply, exact
from crowdstream.client.command_index import find
from crowdstream.client.command_info import Ending
from crowdstream.client.errors import (
    ClientError,
    CommandFailed,
    CommandLate,
    NoReply,
    ServerUnavailable,
)
from crowdstream.client.results import RestartDetector, parse_status
from crowdstream.client.subscriptions import Feed
from crowdstream.osc.codec import Double, Malformed, build, bundle, parse

MAX_DATAGRAM_BYTES = 65507  # the most that UDP carries in one packet
# A reply over a local network takes less than a millisecond. The server may be busy for a while.
RESEND_SECONDS = 0.25
MAX_RESEND_SECONDS = 1.0
REFUSED_SECONDS = 0.1  # between two attempts while no program listens on the port
# A bundle whose time is nearer is carried out at once (the server's horizon is 0.5 s), so whether
# it is late is known soon, and the call waits for it.
HORIZON_SECONDS = 0.6
STATUS_SECONDS = 1.0  # between two checks for a restart, while there are subscriptions
# A server of an earlier version cannot save all subscriptions over a restart of its control.
RENEW_SECONDS = 5.0
ECHO_SECONDS = 5.0  # for which failures of a packet that was sent twice are dropped
MAX_PROBLEMS = 1000  # that are kept until `check`


class Command(NamedTuple):
    """An address with its arguments."""

    address: str
    arguments: tuple[Any, ...] = ()


class Expected(NamedTuple):
    """The reply that completes a call; see `Ending`."""

    ending: Ending
    reply: str
    first: Any = None


def expected_reply(command: Command) -> Expected:
    """Return the reply to expect; a pattern and an unknown address have none of their own."""
    info = find(command.address)
    if info is None:
        return Expected(Ending.HANDLED, "")
    reply = info.reply.replace("<address>", command.address)
    first = command.arguments[0] if command.arguments else 0
    return Expected(info.ending, reply, first if info.ending is Ending.ECHO else None)


def is_repeatable(command: Command) -> bool:
    """Whether a command is idempotent; not known for patterns, which are not repeated."""
    info = find(command.address)
    return info is not None and info.repeatable


@dataclass
class Call:
    """Commands in one packet that wait for their reply. `finished` once `values` or `error` is set.

    `names`: the addresses under which replies name its commands.
    """

    number: int
    packet: bytes
    names: frozenset[str]
    expected: Expected
    repeatable: bool
    deadline: float
    patience: float  # seconds from the `/pong` to the deadline of a `/done`
    resend_at: float
    on_finish: Callable[[Call], None] | None = None
    handled: bool = False
    refused: bool = False  # the packet has certainly not arrived
    tries: int = 0
    serial: int = 0
    parts: list[Reply] = field(default_factory=list)
    values: Reply | None = None
    error: ClientError | None = None

    @property
    def finished(self) -> bool:
        """Whether it has a result."""
        return self.values is not None or self.error is not None

    def result(self) -> Reply:
        """Return the values of the reply, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.values is not None
        return self.values


class Connection:
    """The calls and subscriptions of one client. For one thread.

    `transmit(packet)` sends a packet; it raises `ConnectionRefusedError` if the system reports that
    an earlier one did not reach a program, and `OSError` if the packet cannot be sent.
    """

    def __init__(
        self,
        transmit: Callable[[bytes], None],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._transmit = transmit
        self._monotonic = monotonic
        self._wall = wall
        # Replies to an earlier program on the same port must not be mistaken for ours.
        self._numbers = itertools.count(random.getrandbits(30))
        self._calls: dict[int, Call] = {}
        self._held: list[CommandFailed | CommandLate] = []  # failures whose `/pong` has not arrived
        self._echoes: dict[str, float] = {}
        self._serial = self._settled = 0  # packets sent, and of these, known to be received or not
        self._received_at = self._refused_at = -math.inf
        self._restarts = RestartDetector()
        self._asked_at = self._renewed_at = -math.inf
        self._gone = False  # no program has listened on the port since the last packet
        self.feeds: list[Feed[Any]] = []
        self.problems: deque[CommandFailed | CommandLate] = deque(maxlen=MAX_PROBLEMS)
        """Failures and late commands that belong to no waiting call, such as scheduled ones."""
        self.resent = 0
        """Packets that were sent again."""
        self.closed = False

    # Calls -----------------------------------------------------------------------------------

    def start(
        self,
        commands: Sequence[Command],
        timeout: float,
        patience: float,
        at: float | None = None,
        at_beat: float | None = None,
    ) -> Call:
        """Send commands as one packet and return the call that waits for their reply.

        `timeout`: seconds until the server must have handled them; `patience`: seconds for a
        command that takes time. `at`: Unix time, `at_beat`: beat at which they act; they then have
        no reply of their own. Raises `ValueError` for a packet that is too long, or both times, and
        `RuntimeError` after `close`.
        """
        if self.closed:
            raise RuntimeError("the client is closed")
        if at is not None and at_beat is not None:
            raise ValueError("a command acts at a time or at a beat, not at both")
        number = next(self._numbers) & 0x7FFFFFFF
        timed = at is not None or at_beat is not None
        soon = at_beat is not None or (at is not None and at - self._wall() < HORIZON_SECONDS)
        packet = bundle([*encoded(commands, at, at_beat), build("/ping", (number, int(soon)))])
        if len(packet) > MAX_DATAGRAM_BYTES:
            raise ValueError(f"{len(packet)} bytes do not fit into one packet")
        single = len(commands) == 1 and not timed
        expected = expected_reply(commands[0]) if single else Expected(Ending.HANDLED, "")
        names = {command.address for command in commands}
        if at_beat is not None:
            names.add("/clock/at")
        now = self._monotonic()
        call = Call(
            number, packet, frozenset(names), expected, all(map(is_repeatable, commands)),
            now + timeout, patience, math.inf,
        )  # fmt: skip
        self._calls[number] = call
        self._send_call(call)
        return call

    def send(self, *commands: Command, at: float | None = None) -> None:
        """Send commands as one packet, without waiting: a lost packet is not noticed."""
        parts = encoded(commands, at, None)
        self.send_packet(parts[0] if len(parts) == 1 else bundle(parts))

    def send_packet(self, packet: bytes) -> None:
        """Send a packet. If that fails, it is lost, as on the network."""
        self._serial += 1
        for _ in range(2):
            try:
                self._transmit(packet)
            except ConnectionRefusedError:
                # The system reports an earlier packet, and has not sent this one.
                self.on_refused(self._serial - 1)
                continue
            except OSError:
                pass
            return

    def _send_call(self, call: Call) -> None:
        if call.tries:
            self.resent += 1
        call.tries += 1
        call.refused = False
        call.serial = self._serial + 1
        wait = min(RESEND_SECONDS * 2 ** (call.tries - 1), MAX_RESEND_SECONDS)
        call.resend_at = self._monotonic() + wait
        self.send_packet(call.packet)

    def close(self) -> None:
        """End all subscriptions, and all calls with `NoReply`."""
        for feed in list(self.feeds):
            self.remove_feed(feed)
        self.closed = True
        for call in list(self._calls.values()):
            self._finish(call, error=NoReply("the client was closed before the reply arrived"))

    def abandon(self, call: Call) -> None:
        """Forget a call that no caller waits for."""
        self._calls.pop(call.number, None)

    def _finish(
        self, call: Call, values: Reply | None = None, error: ClientError | None = None
    ) -> None:
        self._calls.pop(call.number, None)
        call.values, call.error = values, error
        if call.tries > 1:  # the other copy is answered as well
            now = self._monotonic()
            self._echoes = {name: until for name, until in self._echoes.items() if until > now}
            self._echoes |= dict.fromkeys(call.names, now + ECHO_SECONDS)
        if call.on_finish is not None:
            call.on_finish(call)

    # Receiving -------------------------------------------------------------------------------

    def receive(self, packet: bytes) -> None:
        """Handle a received packet; malformed ones are ignored."""
        self._settled = self._serial
        self._received_at = self._monotonic()
        if self._gone:
            self._gone = False
            self._restarts = RestartDetector()
            self._renew_after_restart()
        try:
            messages = parse(packet)
        except Malformed:
            return
        for _time, message in messages:
            # Unexpected arguments come from another program, or a server of another version.
            with contextlib.suppress(IndexError, OverflowError, TypeError, ValueError):
                self._take(message.address, message.params)

    def on_refused(self, last: int | None = None) -> None:
        """Handle the system's report that a packet reached no program. `last`: the latest one."""
        last = self._serial if last is None else last
        now = self._refused_at = self._monotonic()
        self._gone = True
        for call in self._calls.values():
            # The report does not say which packet; with several under way, it may be any of them.
            if call.serial == last and last - self._settled == 1 and not call.handled:
                call.refused = True
                call.resend_at = now + REFUSED_SECONDS
        self._settled = last

    def _take(self, address: str, values: Reply) -> None:
        if address == "/pong" and values:
            # That of a call, or the reply to a `/ping` that is a call itself.
            if values[0] in self._calls or not self._take_reply(address, values):
                self._take_pong(values[0])
        elif address == "/fail" and values[:1] == ("/ping",):
            # A server of an earlier version, or one whose engine is busy: it has handled the rest.
            self._take_pong(next((n for n, call in self._calls.items() if not call.handled), 0))
        elif address == "/fail" and len(values) >= 2:
            self._take_error(CommandFailed(str(values[0]), str(values[1])))
        elif address == "/late" and len(values) >= 2:
            self._take_error(CommandLate(str(values[0]), float(values[1])))
        elif not self._take_reply(address, values):
            if address == "/status.reply" and self.feeds:
                self._take_status(values)
            for feed in self.feeds:
                feed.offer(address, values)

    def _take_error(self, error: CommandFailed | CommandLate) -> None:
        self._held.append(error)
        concerned = [call for call in self._calls.values() if error.address in call.names]
        if any(not call.handled for call in concerned):
            return  # its `/pong` follows
        self._held.pop()
        if concerned:
            self._finish(concerned[0], error=error)
        elif self._echoes.get(error.address, -math.inf) < self._monotonic():
            self.problems.append(error)

    def _take_pong(self, number: Any) -> None:
        call = self._calls.get(number)
        held, self._held = self._held, []
        errors: list[CommandFailed | CommandLate] = []
        for error in held:
            mine = call is not None and error.address in call.names
            (errors if mine else self._held).append(error)
        if call is not None:
            if not call.handled and call.expected.ending in (Ending.DONE, Ending.ECHO):
                call.deadline = max(call.deadline, self._monotonic() + call.patience)
            call.handled = True
            self._end_handled(call, errors)
        self._settle_held()

    def _end_handled(self, call: Call, errors: list[CommandFailed | CommandLate]) -> None:
        if errors:
            # A failure says more than lateness.
            errors.sort(key=lambda error: not isinstance(error, CommandFailed))
            errors[0].others = tuple(errors[1:])
            self._finish(call, error=errors[0])
        elif call.expected.ending is Ending.HANDLED:
            self._finish(call, values=())

    def raise_problems(self) -> None:
        """Raise the first of `problems`, with the others, and forget them."""
        problems = list(self.problems)
        self.problems.clear()
        if problems:
            problems[0].others = tuple(problems[1:])
            raise problems[0]

    def _settle_held(self) -> None:
        # Failures whose call has ended without its `/pong`.
        held, self._held = self._held, []
        for error in held:
            self._take_error(error)

    def _take_reply(self, address: str, values: Reply) -> bool:
        # Whether a call has taken the message.
        for call in self._calls.values():
            ending, reply, first = call.expected
            if address == "/done" and values and values[0] in call.names:
                if ending is Ending.DONE:
                    self._finish(call, values=values[1:])
                    return True
                if ending is Ending.COUNT:
                    if values[1:] == (len({part[0] for part in call.parts}),):
                        self._finish(call, values=tuple(call.parts))
                    call.parts = []  # some were lost: the call is repeated
                    return True
            elif address != reply:
                continue
            elif ending is Ending.FIRST or (ending is Ending.ECHO and values[:1] == (first,)):
                self._finish(call, values=values)
                return True
            elif ending is Ending.COUNT:
                call.parts.append(values)
                return True
            elif ending is Ending.PARTS and len(values) >= 4:
                call.parts = [part for part in call.parts if part[1] != values[1]] + [values]
                if len(call.parts) >= int(values[2]):
                    self._finish(call, values=tuple(call.parts))
                return True
        return False

    # Subscriptions ---------------------------------------------------------------------------

    def add_feed(self, feed: Feed[Any]) -> list[Command]:
        """Add a subscription; return the commands to call for it.

        Raises `ValueError` if another one needs the same command with other arguments, and
        `RuntimeError` after `close`.
        """
        others = [command for one in self.feeds for command in one.start]
        for command in feed.start:
            for other in others:
                if other[0] == command[0] and other[1] != command[1]:
                    raise ValueError(f"{command[0]} is subscribed with other arguments already")
        if self.closed:
            raise RuntimeError("the client is closed")
        feed.closed = False
        self.feeds.append(feed)
        self._asked_at, self._renewed_at = -math.inf, self._monotonic()
        return [Command(*command) for command in feed.start]

    def remove_feed(self, feed: Feed[Any]) -> None:
        """Remove a subscription, and send the commands that end it."""
        if feed not in self.feeds:
            return
        self.feeds.remove(feed)
        feed.close()
        needed = {command[0] for one in self.feeds for command in one.start}
        for command in feed.stop:
            if command[0] not in needed:
                self.send(Command(*command))

    def _take_status(self, values: Reply) -> None:
        if self._restarts.update(parse_status(values), self._monotonic(), self._asked_at):
            self._renew_after_restart()

    def _renew_after_restart(self) -> None:
        for feed in self.feeds:
            feed.restarts += 1
        self._subscribe(self.feeds)

    def _subscribe(self, feeds: Sequence[Feed[Any]]) -> None:
        for command in dict.fromkeys(command for feed in feeds for command in feed.start):
            self.send(Command(*command))

    # Time ------------------------------------------------------------------------------------

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity if nothing waits."""
        times = [self.call_due(call) for call in self._calls.values()]
        if self.feeds:
            times.append(self._asked_at + STATUS_SECONDS)
        return min(times, default=math.inf)

    def call_due(self, call: Call) -> float:
        """Return when `tick` has work for one call (monotonic seconds)."""
        return min(call.deadline, self._resend_at(call))

    def _resend_at(self, call: Call) -> float:
        return call.resend_at if call.refused or call.repeatable else math.inf

    def tick(self) -> bool:
        """Send lost packets again, end calls that take too long, and renew subscriptions.

        Returns whether a call has ended.
        """
        now = self._monotonic()
        before = len(self._calls)
        for call in list(self._calls.values()):
            if now >= call.deadline:
                self._time_out(call)
            elif now >= self._resend_at(call):
                call.parts = []
                self._send_call(call)
        if self.feeds and now >= self._asked_at + STATUS_SECONDS:
            self._asked_at = now
            self.send(Command("/status"))
            if now >= self._renewed_at + RENEW_SECONDS:
                self._renewed_at = now
                self._subscribe([feed for feed in self.feeds if feed.renewable])
        return len(self._calls) < before

    def _time_out(self, call: Call) -> None:
        error: NoReply
        names = ", ".join(sorted(call.names)[:3])
        if self._refused_at > self._received_at and (call.refused or call.repeatable):
            error = ServerUnavailable(f"{names}: no program listens on the server's port")
        elif call.handled:
            error = NoReply(f"{names}: received, but not completed in time")
        elif call.repeatable:
            error = NoReply(f"{names}: the server does not answer")
        else:
            error = NoReply(f"{names}: no reply; it was sent once, and may have been carried out")
        self._finish(call, error=error)


def encoded(commands: Sequence[Command], at: float | None, at_beat: float | None) -> list[bytes]:
    """Return the elements of a bundle that carries out commands, at a time or a beat."""
    messages = []
    for address, arguments in commands:
        values = tuple(exact(arguments))
        if at_beat is None:
            messages.append(build(address, values))
        else:
            messages.append(build("/clock/at", (Double(at_beat), address, *values)))
    return messages if at is None else [bundle(messages, at)]
