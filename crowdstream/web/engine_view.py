"""Readings of the desk for pages: playheads, meters, and the engine's ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import DECKS, GAPS
from crowdstream.desk.opcodes import CAUSES
from crowdstream.desk.snapshot import read_snapshot
from crowdstream.monitor.health import Processes, bin_edges_ns, engine_readings, latency
from crowdstream.monitor.meters import MeterReader
from crowdstream.monitor.watch import ADVICE

NEWEST_GAPS = 50
DECK_KEYS = tuple(f"deck.{letter}" for letter in "ABCD"[:DECKS])


class EngineView:
    """Reads the desk for pages, at no cost to the engine or to control.

    `picture()` returns control's published state; `about()` returns general facts about the server.
    """

    def __init__(
        self,
        desk: Desk,
        picture: Callable[[], dict[str, Any]],
        about: Callable[[], dict[str, Any]],
    ) -> None:
        self._desk = desk
        self._picture = picture
        self._about = about
        self._meters = MeterReader(desk)
        self._shown: dict[str, list[float]] = {}
        self._processes = Processes({})

    @staticmethod
    def time() -> float:
        """The server's monotonic clock in seconds; pages synchronise to it."""
        return time.monotonic()

    def now(self) -> dict[str, Any]:
        """Playheads and meters at one moment.

        `t` is the time of the reading. `at` is the time at which the driver requests the block that
        begins with `frame`; that frame is audible `latency` seconds later. Both times are those of
        `time()`. `decks` holds per deck: the file frame audible at `frame`, the speed in file
        frames per output frame, and 1 while it plays.
        """
        desk, picture = self._desk, self._picture()
        moment = read_snapshot(desk)
        decks = []
        for key in DECK_KEYS:
            voice = int(picture.get(key, {}).get("voice", -1))
            if voice < 0:
                decks.append([0, 0.0, 0])
            else:
                place, speed = moment.audible_positions[voice], moment.speeds[voice]
                decks.append([round(place, 3), round(speed, 9), int(moment.playing[voice])])
        for name, values in self._meters.read().items():
            self._shown[name] = [round(one, 1) for one in values]
        ahead = (moment.frame - moment.callback_frame) / desk.sample_rate
        return {
            "t": time.monotonic(), "frame": moment.frame, "at": moment.callback_ns * 1e-9 + ahead,
            "latency": latency(desk), "beat": round(moment.beat, 6),
            "bpm": round(moment.bpm, 4), "decks": decks, "meters": self._shown,
            "limit": round(float(desk.master["limit_gain"]), 4),
        }  # fmt: skip

    def health(self) -> dict[str, Any]:
        """The ledger, the cause of each gap, and the CPU and memory use of the processes."""
        ledger = self._desk.ledger
        return {
            **engine_readings(self._desk), "histogram": self._histogram(), "gaps": self._gaps(),
            "realtime": int(ledger["realtime"]), "processes": self._usage(),
        }  # fmt: skip

    def _histogram(self) -> list[list[float]]:
        # Rows of: upper edge in ms, number of renders, number of callback intervals.
        ledger = self._desk.ledger
        rows = zip(bin_edges_ns(), ledger["render_hist"], ledger["interval_hist"], strict=True)
        return [[edge / 1e6, int(a), int(b)] for edge, a, b in rows if a or b]

    def _gaps(self) -> list[dict[str, Any]]:
        # Newest first, each with advice.
        desk = self._desk
        count = min(int(desk.ledger["gap_count"]), GAPS)
        gaps = desk.gaps[:count].copy()
        order = np.argsort(gaps["time_ns"])[::-1][:NEWEST_GAPS]
        found = []
        for gap in gaps[order]:
            cause = CAUSES[int(gap["cause"])]
            found.append({
                "frame": int(gap["frame"]), "ago": time.monotonic() - int(gap["time_ns"]) * 1e-9,
                "cause": cause, "ms": int(gap["excess_ns"]) / 1e6, "advice": ADVICE.get(cause, ""),
            })  # fmt: skip
        return found

    def _usage(self) -> dict[str, dict[str, float]]:
        # CPU in percent of one core since the last call; resident memory in MB.
        processes = self._processes
        processes.pids = dict(self._about().get("pids", {}))
        processes.read()
        return {
            name: {"cpu": processes.cpu.get(name, 0.0), "mb": processes.memory_mb(name)}
            for name in processes.pids
        }
