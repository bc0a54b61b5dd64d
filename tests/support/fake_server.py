"""A server that plays nothing: it replies like the real one and records what it receives.

`DirectClient` calls it without a socket, in simulated time.

It is also a program, for tests of the demo's runner: ``fake_server.py --port P [--die | --deaf]``.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from crowdstream.demo.osc import Answer, OscClient  # noqa: E402
from crowdstream.demo.plan import Argument, Message  # noqa: E402


@dataclass
class FakeServer:
    """Listens on a free port in its own thread during the ``with`` block.

    `heard` contains (Unix time at which it takes effect, address, arguments). `refuse` contains
    decks whose `/cue` fails; `silent` leaves every `/cue` unanswered; `speed` is the number of
    seconds of its sound card's clock per second of `clock`.
    """

    port: int = 0
    refuse: frozenset[str] = frozenset()
    silent: bool = False
    speed: float = 1.0
    clock: Callable[[], float] = time.time
    heard: list[tuple[float, str, tuple[object, ...]]] = field(default_factory=list)

    def __enter__(self) -> FakeServer:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def sent(self, address: str) -> list[tuple[object, ...]]:
        """Return the arguments of all messages to `address`, in order of arrival."""
        return [arguments for _, name, arguments in list(self.heard) if name == address]

    def _listen(self) -> None:
        while not self._ending.is_set():
            try:
                datagram, sender = self._socket.recvfrom(65536)
            except TimeoutError:
                continue
            for timed in OscPacket(datagram).messages:
                arguments = tuple(timed.message.params)
                for answer in self.take(timed.time, timed.message.address, arguments):
                    self._send(sender, *answer)

    def take(
        self, moment: float, address: str, arguments: tuple[object, ...]
    ) -> list[tuple[str, tuple[object, ...]]]:
        """Handle a message that takes effect at `moment`; return the replies."""
        self.heard.append((moment, address, arguments))
        if address == "/cue" and not self.silent:
            if arguments[0] in self.refuse:
                return [("/fail", ("/cue", "no such file"))]
            return [("/done", ("/cue", 100 + 1000 * "ABCD".index(str(arguments[0]))))]
        if address == "/status":
            names: tuple[object, ...] = (
                "driver",
                "null",
                "underruns",
                3,
                "deck.A.state",
                "playing",
            )
            zeros = [moment for moment, name, _ in self.heard if name == "/reset"]
            if zeros:
                names += ("bpm", 120.0, "beat", (self.clock() - zeros[-1]) * self.speed * 2.0)
            return [("/status.reply", (1, 4, 4, 1, 0, 2.5, 3.0, 44100.0, 44100.0, *names))]
        return []

    def _send(self, to: tuple[str, int], address: str, arguments: tuple[object, ...]) -> None:
        builder = OscMessageBuilder(address=address)
        for argument in arguments:
            assert isinstance(argument, int | float | str)
            builder.add_arg(argument)
        self._socket.sendto(builder.build().dgram, to)


@dataclass
class SimulatedTime:
    """Replacement for the module `time`: time passes only while someone waits."""

    now: float = 1e9

    def time(self) -> float:
        """Return Unix seconds."""
        return self.now

    def monotonic(self) -> float:
        """Return the seconds of a clock with another origin."""
        return self.now - 5e8


class DirectClient(OscClient):
    """A client of the demo that calls its server directly; only waiting for replies takes time."""

    def __init__(self, server: FakeServer, clock: SimulatedTime) -> None:
        self._server = server
        self._clock = clock
        self._answers: list[Answer] = []

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def send(self, address: str, *arguments: Argument) -> None:
        """Send one message that takes effect now."""
        self._take(self._clock.now, [Message(address, arguments)])

    def send_at(self, at: float, messages: Iterable[Message]) -> None:
        """Send messages that take effect at the Unix time `at`."""
        self._take(at, messages)

    def receive(self, wait: float) -> list[Answer]:
        """Return the replies that have arrived `wait` seconds later."""
        self._clock.now += wait
        found, self._answers = self._answers, []
        return found

    def _take(self, at: float, messages: Iterable[Message]) -> None:
        for message in messages:
            for answer in self._server.take(at, message.address, message.arguments):
                self._answers.append(Answer(*answer))


def main() -> int:
    """Run until a signal arrives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--die", action="store_true", help="end at once, with an error")
    parser.add_argument("--die-later", action="store_true", help="end after a second")
    parser.add_argument("--stubborn", action="store_true", help="ignore signals")
    parser.add_argument("--media-root", help="must be the folder of the demo's tracks")
    parser.add_argument("--record-folder")
    parser.add_argument("--http-port", help="the port of the page if 8080 is in use")
    options = parser.parse_args()
    if options.die:
        print("starting", file=sys.stderr)
        print("error: device 'moon' not found", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stay if options.stubborn else _end)
    with FakeServer(options.port):
        print(f"INFO page on http://the.page/?of={options.media_root}", flush=True)
        time.sleep(1.0 if options.die_later else 60.0)
    print("error: the sound card was unplugged", file=sys.stderr)
    return 3


def _stay(number: int, frame: object) -> None:
    print("INFO not ending", flush=True)


def _end(number: int, frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
