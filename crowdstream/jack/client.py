"""A JACK client with output ports, over the JACK library of the machine (also PipeWire's).

The library is loaded when it is needed; JACK's header `jack/jack.h` (version 1.9) is the source of
the signatures and numbers.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_uint32, c_uint64, c_void_p
from typing import Any

NO_START_SERVER = 1
PORT_IS_OUTPUT = 2
AUDIO = b"32 bit float mono audio"
TRANSPORT_ROLLING = 1
POSITION_HAS_BBT = 0x10


class JackError(RuntimeError):
    """The JACK server can't be used. The message gives the reason."""


class Position(ctypes.Structure):
    """`jack_position_t`: the transport's position. `frame_rate` in Hz."""

    _fields_ = (
        ("unique_1", c_uint64), ("usecs", c_uint64), ("frame_rate", c_uint32),
        ("frame", c_uint32), ("valid", c_int), ("bar", ctypes.c_int32),
        ("beat", ctypes.c_int32), ("tick", ctypes.c_int32), ("bar_start_tick", ctypes.c_double),
        ("beats_per_bar", ctypes.c_float), ("beat_type", ctypes.c_float),
        ("ticks_per_beat", ctypes.c_double), ("beats_per_minute", ctypes.c_double),
        ("padding", ctypes.c_uint32 * 32), ("unique_2", c_uint64),
    )  # fmt: skip


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "jack_client_open": (c_void_p, (c_char_p, c_int, POINTER(c_int))),
    "jack_client_close": (c_int, (c_void_p,)),
    "jack_get_client_name": (c_char_p, (c_void_p,)),
    "jack_activate": (c_int, (c_void_p,)),
    "jack_get_sample_rate": (c_uint32, (c_void_p,)),
    "jack_get_buffer_size": (c_uint32, (c_void_p,)),
    "jack_port_register": (
        c_void_p, (c_void_p, c_char_p, c_char_p, ctypes.c_ulong, ctypes.c_ulong)
    ),
    "jack_port_unregister": (c_int, (c_void_p, c_void_p)),
    "jack_set_process_callback": (c_int, (c_void_p, c_void_p, c_void_p)),
    "jack_on_shutdown": (None, (c_void_p, c_void_p, c_void_p)),
    "jack_port_get_connections": (POINTER(c_char_p), (c_void_p,)),
    "jack_port_by_name": (c_void_p, (c_void_p, c_char_p)),
    "jack_connect": (c_int, (c_void_p, c_char_p, c_char_p)),
    "jack_free": (None, (c_void_p,)),
    "jack_transport_query": (c_int, (c_void_p, POINTER(Position))),
}
_Silent = CFUNCTYPE(None, c_char_p)
_Shutdown = CFUNCTYPE(None, c_void_p)


class JackClient:
    """A client named `name`, or one like it, on the server that is running."""

    def __init__(self, name: str) -> None:
        """Raises `JackError` without a JACK library or server."""
        self._library = _open_library()
        client = self._library.jack_client_open(name.encode(), NO_START_SERVER, None)
        if not client:
            raise JackError("no JACK server is running: start jackd or PipeWire")
        self._client = client
        self.gone = False
        """Whether the server has ended, or has removed this client."""
        self._on_shutdown = _Shutdown(self._shut_down)
        self._library.jack_on_shutdown(client, self._on_shutdown, None)

    def _shut_down(self, _argument: Any) -> None:
        self.gone = True

    @property
    def name(self) -> str:
        """The name that the server has given to this client."""
        return bytes(self._library.jack_get_client_name(self._client)).decode(errors="replace")

    @property
    def rate(self) -> float:
        """Sample rate in Hz."""
        return float(self._library.jack_get_sample_rate(self._client))

    @property
    def frames(self) -> int:
        """Frames of one period."""
        return int(self._library.jack_get_buffer_size(self._client))

    @property
    def get_buffer(self) -> int:
        """Address of the library's function `jack_port_get_buffer`."""
        return ctypes.cast(self._library.jack_port_get_buffer, c_void_p).value or 0

    def register(self, name: str) -> int:
        """Add an output port; return its handle. Raises `JackError`."""
        port = self._library.jack_port_register(
            self._client, name.encode(), AUDIO, PORT_IS_OUTPUT, 0
        )
        if not port:
            raise JackError(f"the JACK server refuses the port {name}")
        return int(port)

    def activate(self, process: int, argument: int) -> None:
        """Have the server call the function at address `process`. Raises `JackError`."""
        self._library.jack_set_process_callback(self._client, process, argument)
        if self._library.jack_activate(self._client):
            raise JackError("the JACK server refuses the client")

    def connections(self, port: int) -> list[str]:
        """Return the names of the ports that a port is connected to."""
        found = self._library.jack_port_get_connections(port)
        if not found:
            return []
        names: list[str] = []
        while (name := found[len(names)]) is not None:
            names.append(name.decode(errors="replace"))
        self._library.jack_free(found)
        return names

    def connect(self, port: str, others: Sequence[str]) -> None:
        """Connect one of this client's ports to others, as far as they exist."""
        for other in others:
            # The server would log each attempt to connect a port that does not exist.
            if self._library.jack_port_by_name(self._client, other.encode()):
                self._library.jack_connect(
                    self._client, f"{self.name}:{port}".encode(), other.encode()
                )

    def transport(self) -> tuple[bool, float]:
        """Return whether the transport rolls, and its tempo in BPM (0 if it has none)."""
        position = Position()
        state = self._library.jack_transport_query(self._client, ctypes.byref(position))
        tempo = position.beats_per_minute if position.valid & POSITION_HAS_BBT else 0.0
        return state == TRANSPORT_ROLLING, float(tempo)

    def close(self) -> None:
        """Leave the server."""
        if self._client is not None:
            self._library.jack_client_close(self._client)
            self._client = None


def _open_library() -> Any:
    name = ctypes.util.find_library("jack") or "libjack.so.0"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        raise JackError("the JACK library is not installed (package libjack-jackd2-0)") from None
    for function, (result, arguments) in _SIGNATURES.items():
        made = getattr(library, function)
        made.restype, made.argtypes = result, arguments
    for setter in ("jack_set_error_function", "jack_set_info_function"):
        getattr(library, setter)(_SILENT)
    return library


def _quiet(_message: bytes | None) -> None:
    pass


_SILENT: Callable[..., None] = _Silent(_quiet)
