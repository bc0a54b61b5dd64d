"""What pages are told of the desk: where the playheads are, meters, and the engine's ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import DECKS, GAPS
from crowdstream.desk.opcodes import CAUSES
from crowdstream.desk.snapshot import read_moment
from crowdstream.monitor.health import Processes, bin_edges_ns, engine_readings, latency
from crowdstream.monitor.meters import MeterReader
from crowdstream.monitor.watch import ADVICE

NEWEST_GAPS = 50
DECK_KEYS = tuple(f"deck.{letter}" for letter in "ABCD"[:DECKS])


class EngineView:
    """Reads the desk for pages; nothing of it costs engine or control anything.

    `picture()`: what control shows; `about()`: the server in general.
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
        """The server's clock, seconds; pages set theirs by it."""
        return time.monotonic()

    def now(self) -> dict[str, Any]:
        """Playheads and meters at one moment.

        `at` is the time (as `time()`) at which the block that begins with `frame` is asked for;
        the frame is heard `latency` seconds later. Each deck: the file frame that is read for the
        ear at `frame`, file frames a frame, whether it plays.
        """
        desk, picture = self._desk, self._picture()
        moment = read_moment(desk)
        decks = []
        for key in DECK_KEYS:
            voice = int(picture.get(key, {}).get("voice", -1))
            if voice < 0:
                decks.append([0, 0.0, 0])
            else:
                place, speed = moment.heard[voice], moment.speeds[voice]
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
        """The ledger, what caused each gap, and what the processes take."""
        ledger = self._desk.ledger
        return {
            **engine_readings(self._desk), "histogram": self._histogram(), "gaps": self._gaps(),
            "realtime": int(ledger["realtime"]), "processes": self._usage(),
        }  # fmt: skip

    def _histogram(self) -> list[list[float]]:
        # Upper edges in ms, how many renders took so long, how many intervals lasted so long.
        ledger = self._desk.ledger
        rows = zip(bin_edges_ns(), ledger["render_hist"], ledger["interval_hist"], strict=True)
        return [[edge / 1e6, int(a), int(b)] for edge, a, b in rows if a or b]

    def _gaps(self) -> list[dict[str, Any]]:
        # The newest first, each with what to do about it.
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
        # CPU in percent of a core since the last time, memory (resident) in MB.
        processes = self._processes
        processes.pids = dict(self._about().get("pids", {}))
        processes.read()
        return {
            name: {"cpu": processes.cpu.get(name, 0.0), "mb": processes.memory_mb(name)}
            for name in processes.pids
        }
