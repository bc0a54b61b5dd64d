"""Load two tracks, wait until each is ready, mix them on the beat, and report what failed.

    .venv/bin/python examples/sequencers/first_sequencer.py A.wav B.wav --bpm 120

The tutorial docs/tutorials/first-sequencer.md explains it line by line. It needs python-osc, which
is installed in CrowdStream's own environment, and a running server.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import sys
import time
from typing import Any

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket

LOAD_SECONDS = 60.0  # a file that must be converted first may take several seconds
REPLY_SECONDS = 5.0
POLL_SECONDS = 0.5
LEAD_IN_BEATS = 4.0
FADE_BEATS = 8.0
MAX_PACKET_BYTES = 65536


class CommandFailed(Exception):
    """The server replied `/fail`: the command changed nothing."""


class Server:
    """A connection to the server: commands go out and replies come in through one socket.

    Raises `TimeoutError` if a reply does not arrive, and `ConnectionRefusedError` if no server
    listens on the port.
    """

    def __init__(self, host: str, port: int) -> None:
        # The server replies to the address and port that a message came from.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, port))
        self._numbers = itertools.count(1)
        self._received: list[OscMessage] = []

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message, without waiting for its result."""
        builder = OscMessageBuilder(address)
        for argument in arguments:
            builder.add_arg(argument)
        self._socket.send(builder.build().dgram)

    def request(self, address: str, *arguments: Any, seconds: float = REPLY_SECONDS) -> list[Any]:
        """Send a command that takes time, wait for `/done`, and return its other values."""
        self.send(address, *arguments)
        return self._wait("/done", address, seconds)

    def check(self) -> None:
        """Wait until everything sent so far is handled; raises the first failure among it."""
        number = next(self._numbers)
        self.send("/sync", number)
        self._wait("/synced", number, REPLY_SECONDS)

    def beat(self) -> float:
        """Return the clock's current beat."""
        self.send("/clock/beat")
        return float(self._wait("/clock/beat.reply", None, REPLY_SECONDS)[0])

    def _wait(self, reply: str, first: Any, seconds: float) -> list[Any]:
        deadline = time.monotonic() + seconds
        while True:
            message = self._receive(deadline)
            if message.address == "/fail":
                raise CommandFailed(": ".join(str(value) for value in message.params[:2]))
            if message.address == "/late":
                print("late:", *message.params, file=sys.stderr)
            elif message.address == reply and first is None:
                return list(message.params)
            elif message.address == reply and message.params[:1] == [first]:
                return list(message.params[1:])

    def _receive(self, deadline: float) -> OscMessage:
        while not self._received:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            packet = OscPacket(self._socket.recv(MAX_PACKET_BYTES))  # a message, or a bundle
            self._received += [timed.message for timed in packet.messages]
        return self._received.pop(0)


def mix(server: Server, tracks: list[str], bpm: float, phrase: float) -> None:
    """Play the first track, bring in the second after a phrase, and hand over the bass."""
    for deck, track in zip("AB", tracks, strict=True):
        server.request(f"/deck/{deck}/load", track, seconds=LOAD_SECONDS)
        server.send(f"/deck/{deck}/grid", bpm)
        server.send(f"/deck/{deck}/sync", 1, 4.0)
        print(f"deck {deck} has loaded {track}")
    server.send("/clock/tempo", bpm)
    server.send("/deck/B/eq/low", 0.0)
    server.send("/clock/reset")
    enter = LEAD_IN_BEATS + phrase
    swap, leave = enter + phrase / 2, enter + phrase
    plan: list[tuple[float, str, list[float]]] = [
        (LEAD_IN_BEATS, "/deck/A/play", []),
        (enter, "/deck/B/play", []),
        (swap, "/deck/A/eq/low", [0.0, 1.0]),
        (swap, "/deck/B/eq/low", [1.0, 1.0]),
        (leave, "/deck/A/level", [0.0, FADE_BEATS * 60.0 / bpm]),
        (leave + FADE_BEATS, "/deck/A/stop", []),
    ]
    for beat, address, arguments in plan:
        server.send("/clock/at", beat, address, *arguments)
    server.check()
    for beat, address, arguments in plan:
        while server.beat() < beat:
            time.sleep(POLL_SECONDS)
        print(f"beat {beat:g}: {address}", *arguments, flush=True)
    server.check()


def main() -> int:
    """Mix the tracks and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tracks", nargs=2, help="a file, or a folder of stems")
    parser.add_argument("--bpm", type=float, default=120.0, help="tempo of both tracks")
    parser.add_argument("--phrase", type=float, default=32.0, help="its length in beats")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=57120)
    options = parser.parse_args()
    try:
        mix(Server(options.host, options.port), options.tracks, options.bpm, options.phrase)
    except CommandFailed as failure:
        print(f"the server refused a command: {failure}", file=sys.stderr)
        return 1
    except (TimeoutError, ConnectionRefusedError):
        place = f"{options.host}, port {options.port}"
        print(f"no server answers on {place}: start one with ./start-crowdstream.sh",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
