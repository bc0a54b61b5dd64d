"""Carry out a night's actions on a running server."""

from __future__ import annotations

import contextlib
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.long_night.faults import Faults
from benchmarks.long_night.kills import Killer
from benchmarks.long_night.line import LOAD_SECONDS, OscConnection, ReplyTracker
from benchmarks.long_night.log import Log
from benchmarks.long_night.recordings import Recordings
from benchmarks.long_night.visitors import VISITORS, Visitor
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import SAMPLE_PADS
from crowdstream.osc.codec import UNIX_EPOCH, build
from tests.support.long_night.model import Action

EXCUSE_SECONDS = 3.0  # around a kill, in which a reply may be missing
STATUS_SECONDS = 5.0
WATCHED_STATUS_SECONDS = 0.1  # after a kill
_MAX_VISITORS = 12
# Events that are logged.
_TOLD = (
    "/late", "/broken", "/record/lost", "/record/failed", "/announcement", "/input", "/schedule",
    "/limit",
)  # fmt: skip


class Player:
    """The DJ's connection, the visitors, the recordings, and their part of the log."""

    def __init__(
        self, port: int, http_port: int, log: Log, paths: Mapping[str, Path],
        bad_files: Mapping[str, Path], folder: Path, killer: Killer, faults: Faults,
    ) -> None:  # fmt: skip
        self._port = port
        self.http_port = http_port
        self._log = log
        self._paths = paths
        self._bad_files = bad_files
        self._killer = killer
        self._faults = faults
        self._next_fault: Action | None = None
        self.dj = OscConnection(port, self._on_message, self._answered, self._late)
        self._status = OscConnection(port, self._on_status, self._answered, self._late)
        self.recordings = Recordings(self.dj, log, folder / "recordings")
        self.visitors: list[Visitor] = []
        self.failures: Counter[str] = Counter()
        self.status: dict[str, Any] = {}
        self._next_status = 0.0
        self.dj.expect("/done /notify")
        self.dj.send_message("/notify", 1)
        self._do: dict[str, Callable[..., None]] = {
            "send": self._send, "together": self._together, "load": self._load, "cue": self._cue,
            "bad file": self._bad_file, "packet": self.dj.send,
            "record": self.recordings.start, "record stop": self.recordings.stop,
            "visitor": self._visitor, "sample": self._sample, "announce": self._announce,
        }

    # Actions

    def carry_out(self, action: Action, desk: Desk | None) -> None:
        """Carry out an action, and request a confirmation."""
        if action.kind == "kill":
            if self._faults.upgrading or self._next_fault is not None:
                # A new version whose process dies is taken back: that would be no fault of it.
                self._log.write("kill skipped", kind=action.words[0], reason="an upgrade")
            else:
                self._killer.strike(str(action.words[0]), desk)
            return
        if action.kind == "fault":
            self._next_fault = action
            return
        words = [len(word) if isinstance(word, bytes) else word for word in action.words]
        self._log.write("action", kind=action.kind, words=str(words)[:200])
        self._do[action.kind](*action.words)
        self.dj.sync()

    def _send(self, address: str, *arguments: Any) -> None:
        self.dj.send_message(address, *arguments)

    def _together(self, ahead: float, *messages: tuple[Any, ...]) -> None:
        tag = round((time.time() + ahead + UNIX_EPOCH) * 2**32)
        parts = [build(address, tuple(values)) for address, *values in messages]
        packed = b"".join(struct.pack(">i", len(part)) + part for part in parts)
        self.dj.send(b"#bundle\0" + struct.pack(">Q", tag) + packed)

    def _load(self, deck: str, piece: str, fraction: float) -> None:
        self.dj.expect(f"/done /deck/{deck}/load", LOAD_SECONDS)
        self.dj.send_message(f"/deck/{deck}/load", str(self._paths[piece]), fraction)

    def _cue(self, deck: str, piece: str, fraction: float) -> None:
        self.dj.expect("/done /cue", LOAD_SECONDS)
        self.dj.send_message("/cue", deck, str(self._paths[piece]), fraction)

    def _sample(self, pad: int, piece: str) -> None:
        self.dj.expect(f"/done /sample/{pad}/load", LOAD_SECONDS)
        self.dj.send_message(f"/sample/{pad}/load", str(self._paths[piece]))

    def _announce(self, piece: str) -> None:
        self.dj.expect("/done /announce", LOAD_SECONDS)
        self.dj.send_message("/announce", str(self._paths[piece]))

    def _bad_file(self, deck: str, name: str) -> None:
        self.dj.expect(f"/done /deck/{deck}/load", LOAD_SECONDS)
        self.dj.send_message(f"/deck/{deck}/load", str(self._bad_files[name]))

    def _visitor(self, kind: str, seconds: float) -> None:
        if len(self.visitors) < _MAX_VISITORS:
            self.visitors.append(VISITORS[kind](self, seconds))

    def connection(self) -> OscConnection:
        """Return a connection for a visitor."""
        return OscConnection(self._port, self._on_visitor_message, self._answered, self._late)

    def reply_tracker(self) -> ReplyTracker:
        """Return a tracker of replies for a visitor with a connection of its own."""
        return ReplyTracker(self._answered, self._late)

    # Replies

    def _on_message(self, address: str, arguments: Sequence[Any]) -> None:
        self.recordings.on_message(address, arguments)
        if address == "/fail":
            words = " ".join(map(str, arguments))[:300]
            self.failures[words[:60]] += 1
            self._log.write("fail", words=words)
        elif address in _TOLD:
            self._log.write("told", address=address, words=" ".join(map(str, arguments))[:300])

    def _on_visitor_message(self, address: str, arguments: Sequence[Any]) -> None:
        if address == "/fail":
            words = " ".join(map(str, arguments))[:300]
            self._log.write("visitor fail", words=words)

    def _on_status(self, address: str, arguments: Sequence[Any]) -> None:
        if address == "/status.reply":
            self.status = dict(zip(arguments[9::2], arguments[10::2], strict=True))
            self._log.write("status", **{
                name: self.status.get(name)
                for name in ("messages", "failed", "malformed", "refused", "dropped", "voices",
                             "pages_used_mb", "pages_reserved_mb", "waiting", "recording",
                             "input.1.state", "input.1.gaps", "input.1.overflows",
                             "input.1.drift_ppm", "input.1.latency_ms")
            })

    def _answered(self, key: str, seconds: float) -> None:
        if key == "/status.reply" and time.monotonic() - seconds > self._killer.struck:
            self._killer.mark_alive()
        kind = _kind(key)
        self._log.write("answer", key=kind, ms=round(seconds * 1e3, 3))

    def _late(self, key: str, sent: float) -> None:
        kind = _kind(key)
        excused = self._killer.covers(sent, EXCUSE_SECONDS) or self._faults.covers(
            sent, EXCUSE_SECONDS
        )
        self._log.write("no answer", key=kind, excused=excused, sent=sent - self._log.begin)

    # Time

    def readers(self) -> list[Any]:
        """Return everything to read on input: each has `fileno` and `read`."""
        here = [visitor for visitor in self.visitors if visitor.fileno() >= 0]
        return [self.dj, self._status, *here]

    def tick(self, rate: float) -> None:
        """Do what is due."""
        now = time.monotonic()
        self.dj.check()
        self._status.check()
        if self._next_fault is not None and not self._killer.busy and not self._faults.busy:
            kind, seconds = self._next_fault.words
            self._next_fault = None
            self._faults.start(str(kind), float(seconds))
        self._faults.tick(self.status)
        if now >= self._next_status:
            watched = self._killer.busy or self._faults.busy
            self._next_status = now + (WATCHED_STATUS_SECONDS if watched else STATUS_SECONDS)
            self.ask_status()
        elif self._killer.busy or self._faults.busy:
            self._next_status = min(self._next_status, now + WATCHED_STATUS_SECONDS)
        for visitor in list(self.visitors):
            visitor.tick()
            if now >= visitor.leaves:
                self.visitors.remove(visitor)
                visitor.leave()
        struck = now if self._faults.upgrading else self._killer.struck
        self.recordings.tick(rate, max(struck, self._faults.struck))

    def ask_status(self) -> None:
        """Request the server's status."""
        self._status.expect("/status.reply")
        self._status.send_message("/status")

    def clear_up(self) -> None:
        """Disconnect all visitors, stop and unload everything."""
        for visitor in self.visitors:
            with contextlib.suppress(OSError):
                visitor.leave()
        self.visitors.clear()
        self.recordings.stop()
        for chain in ("/deck/A", "/deck/B", "/deck/C", "/deck/D", "/bus/1", "/bus/2", "/mix"):
            for slot in range(1, 5):
                self.dj.send_message(f"{chain}/fx/remove", slot)
        for pad in range(1, SAMPLE_PADS + 1):
            self.dj.send_message(f"/sample/{pad}/unload")
        self.dj.expect("/done /mixer_cleanup", LOAD_SECONDS)
        self.dj.send_message("/mixer_cleanup")

    def close(self) -> None:
        """Close the sockets."""
        for visitor in self.visitors:
            visitor.leave()
        self.dj.close()
        self._status.close()


def _kind(key: str) -> str:
    # Numbered replies are of one kind.
    return key.split(" ", maxsplit=1)[0] if key.startswith(("/synced ", "/live ")) else key
