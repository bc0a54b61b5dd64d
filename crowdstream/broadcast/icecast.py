"""A source client of Icecast: HTTP PUT, also over TLS, with titles beside an MP3 stream.

Icecast's protocol is described in the documentation of Icecast 2.4 and 2.5; the titles of MP3
streams are a request of its administration interface.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import crowdstream
from crowdstream.broadcast.encoders import CONTENT_TYPES
from crowdstream.broadcast.outputs import STALL_SECONDS, Output, OutputError
from crowdstream.broadcast.stream import Stream
from crowdstream.broadcast.target import Target
from crowdstream.broadcast.tls import encrypt

CONNECT_SECONDS = 5.0
SEND_BUFFER = 1 << 16  # bytes in the kernel: 2.7 s at 192 kbit/s; the rest waits in the queue
MAX_RESPONSE = 8192  # bytes
TITLE_SECONDS = 5.0  # for a request with a title

# What Icecast writes behind 403, with what it means.
_FORBIDDEN = (
    ("mountpoint in use", "the mount is used by another source"),
    ("too many sources", "the server has no room for another source"),
    ("content-type", "the server does not support this format"),
)


class IcecastOutput(Output):
    """One mount. The stream is shared by all mounts of the same format and bit rate.

    `authorities`: returns the file of the authorities that are trusted besides the system's, or an
    empty text; it is called for each connection over TLS.
    """

    def __init__(
        self,
        number: int,
        target: Target,
        stream: Stream,
        report: Callable[[dict[str, Any]], None],
        authorities: Callable[[], str] = lambda: "",
    ) -> None:
        super().__init__(number, target, stream.rate, report)
        self._authorities = authorities
        self._stream = stream
        self._titles: threading.Thread | None = None
        self._sent_title = ("", "")

    @property
    def dropped_frames(self) -> int:
        """Includes those that could not be encoded in time."""
        return self.queue.dropped + self._stream.queue.dropped

    def session(self) -> None:
        """Connect, and send the stream until the connection ends."""
        with self._connect() as connection:
            self._sent_title = ("", "")
            self.begin_sending()
            with self._stream.joined(self.queue):
                self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        while not self.stopped:
            chunk = self.take()
            if chunk is not None and chunk.data:
                connection.sendall(chunk.data)
                self.sent += len(chunk.data)
            if self.target.format == "mp3":
                self._update_title()

    def _connect(self) -> socket.socket:
        connection = self._open(CONNECT_SECONDS)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            # A peer that has vanished acknowledges nothing: without this, Linux waits a quarter of
            # an hour.
            connection.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * STALL_SECONDS)
            )
            connection.sendall(self._request())
            status, reason, rest = _response(connection)
            if status not in (100, 200):
                raise OutputError(_refusal(status, reason, rest))
            connection.settimeout(STALL_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    def _request(self) -> bytes:
        target = self.target
        headers = {
            "Host": _host(target),
            "Authorization": _authorization(target),
            "User-Agent": f"CrowdStream/{crowdstream.__version__}",
            "Content-Type": CONTENT_TYPES[target.format],
            "Ice-Public": target.options.get("public", "0"),
            "Ice-Name": target.options.get("name", "CrowdStream"),
            "Ice-Description": target.options.get("description", ""),
            "Ice-Genre": target.options.get("genre", ""),
            "Ice-Audio-Info": f"samplerate={self._stream.encoded_rate};channels=2"
            + (f";bitrate={target.bitrate}" if target.bitrate else ""),
            "Expect": "100-continue",
        }
        lines = [f"PUT {quote(target.path)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _update_title(self) -> None:
        # In a thread: an administration interface that does not answer must not stop the stream.
        if self.title == self._sent_title or (self._titles and self._titles.is_alive()):
            return
        self._sent_title = self.title
        self._titles = threading.Thread(
            target=self._send_title, args=self.title, name="title", daemon=True
        )
        self._titles.start()

    def _send_title(self, artist: str, title: str) -> None:
        target = self.target
        song = " - ".join(filter(None, (artist, title)))
        query = urlencode(
            {"mount": target.path, "mode": "updinfo", "charset": "UTF-8", "song": song}
        )
        request = (
            f"GET /admin/metadata?{query} HTTP/1.1\r\nHost: {_host(target)}\r\n"
            f"Authorization: {_authorization(target)}\r\nConnection: close\r\n\r\n"
        )
        # A title that is lost is followed by others; a lost connection is found by the stream.
        with contextlib.suppress(OSError, OutputError), self._open(TITLE_SECONDS) as connection:
            connection.sendall(request.encode())
            _response(connection)

    def _open(self, seconds: float) -> socket.socket:
        target = self.target
        try:
            connection = socket.create_connection((target.host, target.port), seconds)
        except socket.gaierror as error:
            raise OutputError(f"{target.host} is not known: {error.strerror}") from None
        if not target.tls:
            return connection
        try:
            return encrypt(connection, target.host, self._authorities())
        except BaseException:
            connection.close()
            raise


def _host(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def _authorization(target: Target) -> str:
    pair = f"{target.user}:{target.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def _response(connection: socket.socket) -> tuple[int, str, str]:
    # Status, its phrase, and the rest: Icecast 2.4 puts some reasons into the body.
    data = b""
    while b"\r\n\r\n" not in data and len(data) < MAX_RESPONSE:
        part = connection.recv(4096)
        if not part:
            break
        data += part
    if not data:
        raise OutputError("the server closed the connection without a response")
    first, _, rest = data.partition(b"\r\n")
    words = first.decode("latin-1").split(" ", 2)
    if len(words) < 2 or not words[0].startswith(("HTTP/", "ICY")) or not words[1].isdigit():
        raise OutputError("the server does not speak HTTP: is this the port of Icecast?")
    reason = words[2] if len(words) > 2 else ""
    return int(words[1]), reason, rest.decode("latin-1")


def _refusal(status: int, reason: str, rest: str) -> str:
    if status == 401:
        return "the server refuses the user or the password"
    if status == 403:
        for words, meaning in _FORBIDDEN:
            if words in f"{reason} {rest}".lower():
                return meaning
    return f"the server refuses the stream: {status} {reason[:80]}"
