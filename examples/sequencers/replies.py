"""Tracks one after another, checked by the server's replies: python replies.py A.wav B.wav ...

What takes time, such as loading, is answered with `/done <address> ...`; what can't be done with
`/fail <address> <reason>`. Both go to the port that the command was sent from. A track that can't
be played is named and left out, a server that does not answer is asked again, and the next track is
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

ANSWER_SECONDS = 5.0  # that a reply may take; loading is done once the first pages are there
MAX_TRIES = 3

Reply = tuple[str, list[Any]]
"""Address and arguments."""


class Refused(Exception):
    """The server answered `/fail`; the text is its reason."""


class Server:
    """The server as its replies show it."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Connected: nobody else's packets arrive, and a port that nobody has is reported.
        self._socket.connect((host, port))
        self._arrived: deque[Reply] = deque()
        self._syncs = 0

    def close(self) -> None:
        """Free the port."""
        self._socket.close()

    def send(self, address: str, *arguments: Any) -> None:
        """Send a command without waiting for anything."""
        self._socket.send(build_msg(address, list(arguments)).dgram)

    def request(self, address: str, *arguments: Any) -> list[Any]:
        """Send a command that is answered with `/done`, and return what follows its address.

        Raises `Refused` for `/fail`, and `TimeoutError` where nobody answers.
        """
        return self._try(address, arguments, "/done", address)[1:]

    def command(self, address: str, *arguments: Any) -> None:
        """Send a command that is not answered when all is well.

        `/synced` comes after the replies to all that was sent before `/sync`. Raises as `request`
        does.
        """
        self._syncs += 1
        self._try(address, arguments, "/synced", self._syncs, sync=True)

    def wait_for(self, address: str, seconds: float) -> list[Any] | None:
        """The arguments of the next message with this address; None when `seconds` are over."""
        until = time.monotonic() + seconds
        while (reply := self._receive(until)) is not None:
            if reply[0] == address:
                return reply[1]
        return None

    def _try(
        self, address: str, arguments: tuple[Any, ...], answer: str, first: Any, sync: bool = False
    ) -> list[Any]:
        for _ in range(MAX_TRIES):
            # UDP may lose packets, and a server may just be starting again.
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
            self._arrived.extendleft(reversed(events))  # they are for `wait_for`

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
    """Play them; how many were played."""
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
    """Wait until the track in a buffer has come to its end."""
    while (ended := server.wait_for("/ended", 60.0)) is None or ended[0] != buffer:
        server.request("/notify", 1)  # a server that was restarted knows no subscribers


def main() -> int:
    """Play; 0 when every track was played, 1 otherwise."""
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
