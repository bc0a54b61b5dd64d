"""Play tracks one after another, checking the server's replies: python replies.py A.wav B.wav ...

Commands that take time, such as loading, are answered with `/done <address> ...`; failed commands
with `/fail <address> <reason>`. Both are sent to the port that the command came from. A track that
can't be played is reported and skipped, an unanswered command is repeated, and the next track is
loaded while one plays. Needs python-osc and a running server.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import time
from collections import deque
from typing import Any

from pythonosc.osc_message_builder import build_msg
from pythonosc.osc_packet import OscPacket

ANSWER_SECONDS = 5.0  # timeout of a reply; loading is done once the first pages are available
MAX_TRIES = 3

Reply = tuple[str, list[Any]]
"""Address and arguments."""


class Refused(Exception):
    """The server answered `/fail`; the message is its reason."""


class Server:
    """A connection to the server that matches replies to commands."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Connected: packets from other senders are dropped, and a closed port is reported.
        self._socket.connect((host, port))
        self._arrived: deque[Reply] = deque()
        self._syncs = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, address: str, *arguments: Any) -> None:
        """Send a command without waiting for a reply."""
        self._socket.send(build_msg(address, list(arguments)).dgram)

    def request(self, address: str, *arguments: Any) -> list[Any]:
        """Send a command that is answered with `/done`, and return the values after its address.

        Raises `Refused` on `/fail`, and `TimeoutError` if the server does not answer.
        """
        return self._try(address, arguments, "/done", address)[1:]

    def command(self, address: str, *arguments: Any) -> None:
        """Send a command that has no reply on success.

        `/synced` follows the replies to everything that was sent before `/sync`. Raises the same
        exceptions as `request`.
        """
        self._syncs += 1
        self._try(address, arguments, "/synced", self._syncs, sync=True)

    def wait_for(self, address: str, seconds: float) -> list[Any] | None:
        """Return the arguments of the next message with this address, or None after `seconds`."""
        until = time.monotonic() + seconds
        while (reply := self._receive(until)) is not None:
            if reply[0] == address:
                return reply[1]
        return None

    def _try(
        self, address: str, arguments: tuple[Any, ...], answer: str, first: Any, sync: bool = False
    ) -> list[Any]:
        for _ in range(MAX_TRIES):
            # UDP may lose packets, and the server may be restarting.
            with contextlib.suppress(ConnectionError):
                self.send(address, *arguments)
                if sync:
                    self.send("/sync", first)
                if (reply := self._reply_to(address, answer, first)) is not None:
                    return reply
        raise TimeoutError(f"no answer to {address}: is the server running?")

    def _reply_to(self, address: str, answer: str, first: Any) -> list[Any] | None:
        until = time.monotonic() + ANSWER_SECONDS
        events = []
        try:
            while (reply := self._receive(until)) is not None:
                name, arguments = reply
                if (name, arguments[:1]) == ("/fail", [address]):
                    raise Refused(str(arguments[1]))
                if (name, arguments[:1]) == (answer, [first]):
                    return arguments
                events.append(reply)
            return None
        finally:
            self._arrived.extendleft(reversed(events))  # keep them for `wait_for`

    def _receive(self, until: float) -> Reply | None:
        while not self._arrived:
            left = until - time.monotonic()
            if left <= 0.0:
                return None
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                packet = OscPacket(self._socket.recv(65536))
                self._arrived.extend((m.message.address, m.message.params) for m in packet.messages)
        return self._arrived.popleft()


def play(server: Server, tracks: list[str]) -> int:
    """Play the tracks and return how many were played."""
    server.request("/notify", 1)  # events: /ended
    played, playing = 0, None
    for number, track in enumerate(tracks, 1):
        deck = "AB"[played % 2]
        try:
            [buffer] = server.request(f"/deck/{deck}/load", track)
        except Refused as reason:
            print(f"{track}: {reason}", file=sys.stderr)
            continue
        if playing is not None:
            wait_for_end(server, playing)
        server.command(f"/deck/{deck}/play")
        print(f"{number} of {len(tracks)}: {track} on deck {deck}", flush=True)
        played, playing = played + 1, buffer
    if playing is not None:
        wait_for_end(server, playing)
    return played


def wait_for_end(server: Server, buffer: Any) -> None:
    """Wait until the track in a buffer has ended."""
    while (ended := server.wait_for("/ended", 60.0)) is None or ended[0] != buffer:
        server.request("/notify", 1)  # a restarted server has no subscribers


def main() -> int:
    """Play the tracks; return 0 if every track was played, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tracks", nargs="+", help="files, or folders of stems")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=57120)
    options = parser.parse_args()
    server = Server(options.host, options.port)
    try:
        return int(play(server, options.tracks) < len(options.tracks))
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
