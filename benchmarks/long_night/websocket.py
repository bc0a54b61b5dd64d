"""A non-blocking WebSocket, for a program with one loop and many clients."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

_BIGGEST = 1 << 18


class WebSocket:
    """A connection to `ws://127.0.0.1:<port><path>`. `open`: neither refused nor closed.

    Messages sent before the handshake is complete are sent afterwards.
    """

    def __init__(self, port: int, path: str) -> None:
        self._protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}{path}"), max_size=None)
        self._early: list[str] = []
        self._agreed = False
        self.open = True
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # On loopback this does not wait for the server's process.
            self._socket.connect(("127.0.0.1", port))
            self._socket.setblocking(False)
            self._protocol.send_request(self._protocol.connect())
            self._push()
        except OSError:
            self.close()

    def fileno(self) -> int:
        """Return the descriptor for a selector; -1 when closed."""
        return self._socket.fileno()

    def send_message(self, text: str) -> None:
        """Send a text message."""
        if not self._agreed:
            self._early.append(text)
        elif self.open:
            self._protocol.send_text(text.encode())
            self._push()

    def read(self) -> Iterator[bytes]:
        """Yield the messages that have arrived, text and binary."""
        try:
            data = self._socket.recv(_BIGGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        parts: list[bytes] = []
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._agree()
            elif isinstance(event, Frame) and event.opcode in _CONTENT:
                parts.append(bytes(event.data))
                if event.fin:
                    yield b"".join(parts)
                    parts.clear()
        self._push()
        if not data or self._protocol.handshake_exc is not None or self._protocol.close_expected():
            self.close()

    def _agree(self) -> None:
        self._agreed = self._protocol.handshake_exc is None
        if self._agreed:
            for text in self._early:
                self.send_message(text)

    def _push(self) -> None:
        with contextlib.suppress(OSError):
            for data in self._protocol.data_to_send():
                self._socket.send(data)

    def leave(self) -> None:
        """Send a close frame, and close."""
        if self.open and self._agreed:
            with contextlib.suppress(InvalidHandshake):
                self._protocol.send_close(1001)
                self._push()
        self.close()

    def close(self) -> None:
        """Close the socket without a closing handshake."""
        self.open = False
        self._socket.close()


_CONTENT = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
