"""A sample status, a server that sends it, and a terminal that stores its contents."""

from __future__ import annotations

import re
import socket
from typing import Any

from rich.cells import cell_len

from crowdstream.osc.codec import build, parse
from crowdstream.top.readings import Readings

DECK = {
    "state": "empty", "track": "", "position": 0.0, "length": 0.0, "rate": 1.0, "grid": "",
    "bpm": 0.0, "beat": 0.0, "phase": 0.0, "sync": 0.0, "loop": "", "cues": "", "quantize": 0.0,
    "lufs": 0.0, "keylock": 0, "pitch": 0.0, "trim": 1.0, "level": 0.8, "low": 1.0, "mid": 1.0,
    "high": 1.0, "fx": "- - - -",
}  # fmt: skip
PLAYS = {
    "state": "playing", "track": "night drive", "position": 83.4, "length": 245.0,
    "grid": "sidecar", "grid_confidence": 1.0, "bpm": 120.0, "beat": 166.8, "phase": 0.02,
    "sync": 1.0, "loop": "80.000-88.000", "cues": "1:0.500 4:31.250",
    "keylock": 1, "pitch": 2.0, "low": 0.0,
    "fx": "echo - gate(off) -",
}  # fmt: skip


def status(**changes: Any) -> dict[str, Any]:
    """Return a status in which only deck A plays; `A_bpm=1.0` changes deck A."""
    named: dict[str, Any] = {
        "driver": "pyaudio", "device": "USB Audio", "standby": "warm", "takeovers": 0,
        "device_lost": 0, "sample_rate": 48000.0, "buffer_size": 256, "frame": 48000 * 3725,
        "latency_ms": 23.4, "budget_ms": 5.33, "render_p50_ms": 0.31, "render_p99_ms": 0.8,
        "render_max_ms": 2.1, "underruns": 3, "underruns_late_callback": 2,
        "underruns_slow_render": 1, "underruns_device": 0, "missing_pages": 0, "load_percent": 15.0,
        "quality": 0, "quality_asked": "auto", "cpu_control": 2.0, "cpu_engine": 7.0,
        "messages": 100, "failed": 0, "late_commands": 0, "lost": 0, "voices": 1,
        "pages_total_mb": 2000.0, "pages_used_mb": 120.0, "pages_pinned_mb": 40.0,
        "pages_hit_rate": 1.0, "recording": 0, "record_seconds": 0.0, "bpm": 126.0,
        "bpm_target": 126.0, "bpm_base": 120.0, "meter": 4, "beat": 401.0, "waiting": 0,
    }  # fmt: skip
    for deck in "ABCD":
        values = {**DECK, **(PLAYS if deck == "A" else {})}
        named.update({f"deck.{deck}.{name}": value for name, value in values.items()})
    for name, value in changes.items():
        known = re.fullmatch("([A-D])_(.*)", name)
        named[f"deck.{known[1]}.{known[2]}" if known else name] = value
    return named


def readings(**changes: Any) -> Readings:
    """Return readings of an available server, with some meters, at monotonic second 100."""
    known = Readings("127.0.0.1", 57120, status(**changes), answers=True)
    known.meter("master").update(-6.2, -12.0, -14.1, 100.0)
    known.meter("A").update(-9.0, -14.0, -15.0, 100.0)
    return known


class Server:
    """Replies like a server whenever `serve` is called."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._socket.settimeout(60.0)
        self.port: int = self._socket.getsockname()[1]
        self.heard: list[tuple[Any, ...]] = []
        self.status = status()
        self.events: list[tuple[str, str, str, str]] = []
        self._client: Any = None

    def serve(self, count: int = 1) -> None:
        """Receive `count` messages, and reply to status requests."""
        for _ in range(count):
            packet, self._client = self._socket.recvfrom(65536)
            for _time, message in parse(packet):
                self.heard.append((message.address, *message.params))
                if message.address == "/status":
                    values = [one for pair in self.status.items() for one in pair]
                    self.say("/status.reply", *[0] * 9, *values)
                elif message.address == "/events":
                    told = [value for one in self.events for value in one]
                    self.say("/events.reply", len(self.events), *told)

    def say(self, address: str, *values: Any) -> None:
        """Send a message to the sender of the latest one."""
        self._socket.sendto(build(address, values), self._client)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Shown:
    """A terminal that stores its contents. It supports the sequences that `Screen` uses."""

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self.cells: list[list[str]] = []
        self._clear()
        self._row = self._column = 0

    def _clear(self) -> None:
        width, height = self._size
        self.cells = [[" "] * width for _ in range(height)]

    def write(self, text: str) -> None:
        """Process the output of a program."""
        for piece in re.split(r"(\x1b\[[?0-9;]*[A-Za-z])", text):
            if not piece.startswith("\x1b"):
                self._put(piece)
            elif piece.endswith("H"):
                row, column = piece[2:-1].split(";")
                self._row, self._column = int(row) - 1, int(column) - 1
            elif piece.endswith("2J"):
                self._clear()
            elif piece.endswith("K"):
                self.cells[self._row][self._column :] = [" "] * (self._size[0] - self._column)

    def _put(self, text: str) -> None:
        for one in text:
            assert one.isprintable(), repr(text)
            wide = cell_len(one)
            row = self.cells[self._row]
            row[self._column : self._column + wide] = [one] + [""] * (wide - 1)
            self._column += wide

    def lines(self) -> list[str]:
        """Return the lines without trailing spaces."""
        return ["".join(row).rstrip() for row in self.cells]
