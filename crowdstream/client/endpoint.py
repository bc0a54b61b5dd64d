"""The UDP socket of a client."""

from __future__ import annotations

import socket

DEFAULT_PORT = 57120
TIMEOUT_SECONDS = 5.0  # a server that is replaced after a crash is back within about two seconds
PATIENCE_SECONDS = 60.0  # a file that must be converted first takes several seconds to load
MAX_PACKET_BYTES = 65536
RECEIVE_BUFFER_BYTES = 1 << 20  # meters and changes that arrive while the program is busy


class Endpoint:
    """A connected UDP socket: other senders' packets are dropped, a closed port is reported."""

    def __init__(self, host: str, port: int) -> None:
        """Raises `OSError` for an unknown host."""
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM
        )[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def send(self, packet: bytes) -> None:
        """Send a packet; see `Connection` for the errors."""
        self._socket.send(packet)

    def receive(self, seconds: float) -> bytes | None:
        """Return the next packet, or None if there is none within `seconds`.

        Raises `ConnectionRefusedError` if a packet that was sent has reached no program.
        """
        self._socket.settimeout(min(seconds, 3600.0))
        try:
            return self._socket.recv(MAX_PACKET_BYTES)
        except ConnectionRefusedError:
            raise
        except OSError:  # also of the network, which the next packet may find working
            return None

    @property
    def port(self) -> int:
        """The local port, to which replies are sent."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """Return the descriptor, for an event loop; -1 after `close`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
