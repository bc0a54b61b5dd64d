"""An HTTP server on this machine that receives alerts, and answers as a test wants."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class AlertReceiver:
    """Receives requests during a `with` block.

    `statuses` are the status codes of the first answers; later ones are 200. `location`: the
    header of redirects. While `hang` is set, no request is answered.
    """

    statuses: list[int] = field(default_factory=list)
    location: str = ""
    hang: threading.Event = field(default_factory=threading.Event)
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        receiver = self
        released = self._released = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Received(self.command, self.path, dict(self.headers.items()), body)
                receiver.received.append(request)
                if receiver.hang.is_set():
                    released.wait(60.0)
                    return
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Print nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str = "/", user: str = "") -> str:
        """Return a URL of this server."""
        return f"http://{user}{'@' if user else ''}127.0.0.1:{self.port}{path}"
