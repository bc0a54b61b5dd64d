"""A server in a test's own process that accepts a source of Icecast."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class FakeServer:
    """Accepts connections, and answers each with the next of `answers`; None: not at all.

    `context`: of TLS; None: the connections are not encrypted. `port`: 0 chooses a free one.
    """

    def __init__(
        self, answers: list[bytes | None], context: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listening.getsockname()[1])
        self._answers = answers
        self.requests: list[bytes] = []
        self.received: list[bytearray] = []
        self._connections: list[socket.socket] = []
        self.reads = threading.Event()
        self.reads.set()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _address = self._listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        request = b""
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            while b"\r\n\r\n" not in request:
                if not (data := connection.recv(4096)):
                    return
                request += data
            self.requests.append(request)
            title = request.startswith(b"GET")
            answer = b"HTTP/1.0 200 OK\r\n\r\n" if title else self._next()
            if answer is None:
                return
            connection.sendall(answer)
            if title or not answer.startswith((b"HTTP/1.1 100", b"HTTP/1.0 200")):
                connection.close()
                return
            stored = bytearray()
            self.received.append(stored)
            while self.reads.wait() and (data := connection.recv(4096)):
                stored += data
        except OSError:
            pass

    def _next(self) -> bytes | None:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def cut(self) -> None:
        """Reset all connections."""
        while self._connections:
            one = self._connections.pop()
            with contextlib.suppress(OSError):  # it is closed already
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()

    def close(self) -> None:
        """Close everything."""
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()
        self.cut()
