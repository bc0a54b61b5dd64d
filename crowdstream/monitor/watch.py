"""Warnings: report problems at most once per second, with advice on how to solve them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from crowdstream import REPORT
from crowdstream.desk.block import Desk
from crowdstream.desk.load_shedding import BYPASSED_BY_LEVEL, FULL
from crowdstream.desk.opcodes import CAUSES
from crowdstream.monitor.health import Processes, engine_readings

log = logging.getLogger("crowdstream.monitor")

WARN_SECONDS = 1.0
BUSY_PERCENT = 80.0
BUSY_READINGS = 5  # seconds in a row with high CPU before a warning

ADVICE = {
    "late_callback": "the system woke the engine late: give it real-time priority, or raise "
    "--buffer-size",
    "slow_render": "rendering took longer than the block: raise --buffer-size, or play fewer stems",
    "device": "the device lost frames although the engine was in time: raise --buffer-size, "
    "or check cable and sound server",
    "quality": "raise --buffer-size, play fewer stems and effects, or end other programs",
    "missing_page": "the disk did not keep up: raise --cache-mb, or use a faster medium",
}
STALL_ADVICE = (
    "the medium stalled for {:.1f} s: use another card or disk, or raise --read-ahead, or "
    "--cache-mb so that tracks are in memory as a whole"
)


class HealthMonitor:
    """Compares readings one second apart. `notify(name, *values)` notifies subscribers.

    `stall()` returns the seconds of a current or very recent stall of the medium, 0 if none.
    """

    def __init__(
        self,
        desk: Desk,
        processes: Processes,
        stats_seconds: float,
        notify: Callable[..., None],
        stall: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._desk = desk
        self.processes = processes
        self._stats_seconds = stats_seconds
        self._notify = notify
        self._stall = stall
        self._next = time.monotonic() + WARN_SECONDS
        self._next_stats = time.monotonic() + stats_seconds
        # Events reported by an earlier control process are not reported again.
        ledger = desk.ledger
        self._gaps = [int(count) for count in ledger["gaps"]]
        self._missing = int(ledger["missing_pages"])
        self._over = int(ledger["over_budget"])
        self._busy = 0
        quality = desk.quality
        self._lowered = int(quality["lowered"])
        self._left_out = FULL if int(quality["held"]) else int(quality["level"])
        self._priority_warned = False
        self._guarded = int(ledger["guarded"])
        self._blocks = -1
        self._standing = False

    def set_stats_interval(self, seconds: float) -> None:
        """Log `[STATS]` lines at another interval from now on; 0: none."""
        self._stats_seconds = seconds
        self._next_stats = time.monotonic() + seconds

    def tick(self, extra: Callable[[], dict[str, Any]]) -> None:
        """Check once per second; call this often. `extra` returns control's own readings."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + WARN_SECONDS
        self.processes.read()
        self._standstill()
        self._underruns()
        self._pages()
        self._budget()
        self._quality()
        self._cpu()
        self._priority()
        if self._stats_seconds and now >= self._next_stats:
            self._next_stats = now + self._stats_seconds
            own = extra()
            line = stats_line(self._desk, self.processes, own)
            data = {**engine_readings(self._desk), **own, "cpu": dict(self.processes.cpu)}
            log.info("%s", line, extra={"data": data})

    def _standstill(self) -> None:
        # A device that is gone requests no blocks, so it flags no underruns either.
        blocks = int(self._desk.ledger["blocks"])
        moved, self._blocks = blocks != self._blocks, blocks
        if moved:
            if self._standing:
                log.warning("the device requests audio again")
            self._standing = False
        elif not self._standing:
            self._standing = True
            log.error(
                "the device no longer requests audio: check that it is plugged in and that the "
                "sound server is running"
            )

    def _underruns(self) -> None:
        ledger = self._desk.ledger
        for number, cause in enumerate(CAUSES[:3]):
            count = int(ledger["gaps"][number])
            new = count - self._gaps[number]
            if new:
                self._gaps[number] = count
                excess = self._worst(number, new)
                log.warning(
                    "%d underrun%s, %s (worst %.1f ms over): %s",
                    new, "s" if new > 1 else "", cause, excess, ADVICE[cause],
                    extra={"data": {"cause": cause, "underruns": new, "worst_ms": excess}},
                )
                self._notify("/underrun", cause, new, excess)

    def _worst(self, cause: int, new: int) -> float:
        gaps = self._desk.gaps
        chosen = gaps[gaps["cause"] == cause]
        latest = chosen[chosen["time_ns"].argsort()][-new:] if len(chosen) else chosen
        return float(latest["excess_ns"].max()) / 1e6 if len(latest) else 0.0

    def _pages(self) -> None:
        count = int(self._desk.ledger["missing_pages"])
        if count != self._missing:
            new, self._missing = count - self._missing, count
            stall = self._stall()
            advice = STALL_ADVICE.format(stall) if stall else ADVICE["missing_page"]
            log.warning(
                "%d gaps because a page was missing: %s", new, advice,
                extra={"data": {"cause": "missing_page", "missing_pages": new, "stall_s": stall}},
            )
            self._notify("/underrun", "missing_page", new, 0.0)

    def _budget(self) -> None:
        ledger = self._desk.ledger
        over, guarded = int(ledger["over_budget"]), int(ledger["guarded"])
        if over != self._over:
            new, self._over = over - self._over, over
            log.warning("%d blocks took longer to render than to play: %s", new,
                        ADVICE["slow_render"])
        if guarded != self._guarded:
            new, self._guarded = guarded - self._guarded, guarded
            log.error("%d callbacks failed and returned silence: %s", new, REPORT)

    def _quality(self) -> None:
        # A level set by a user is no news.
        quality = self._desk.quality
        level, lowered = int(quality["level"]), int(quality["lowered"])
        if lowered != self._lowered:
            self._lowered, self._left_out = lowered, max(level, FULL + 1)
            log.warning(
                "CPU overload: %s bypassed until the load falls: %s",
                " and ".join(BYPASSED_BY_LEVEL[FULL + 1 : self._left_out + 1]), ADVICE["quality"],
            )
        elif level == FULL and self._left_out != FULL:
            self._left_out = FULL
            log.info("nothing is bypassed any more")

    def _cpu(self) -> None:
        busy = max(self.processes.cpu.items(), key=lambda entry: entry[1], default=("", 0.0))
        self._busy = self._busy + 1 if busy[1] > BUSY_PERCENT else 0
        if self._busy == BUSY_READINGS:
            log.warning(
                "%s has used %.0f %% of a core for %d s: play fewer stems, send fewer messages, "
                "or raise --buffer-size", busy[0], busy[1], BUSY_READINGS,
            )
            self._busy = 0

    def _priority(self) -> None:
        if int(self._desk.ledger["realtime"]) < 0 and not self._priority_warned:
            self._priority_warned = True
            log.warning(
                "no real-time priority: the system may wake the engine late. Allow it with "
                "'@audio - rtprio 95' in /etc/security/limits.d/audio.conf, the user in group "
                "audio, and a new login"
            )


def stats_line(desk: Desk, processes: Processes, extra: dict[str, Any]) -> str:
    """The one-line summary of the server's state that is logged regularly."""
    now = engine_readings(desk)
    cpu = " ".join(f"{name} {value:.0f}%" for name, value in processes.cpu.items())
    return (
        f"[STATS] voices {extra['voices']} | underruns {now['underruns']} (late_callback "
        f"{now['underruns_late_callback']}, slow_render {now['underruns_slow_render']}, device "
        f"{now['underruns_device']}) | missing pages {now['missing_pages']} | render p99 "
        f"{now['render_p99_ms']:.2f} max {now['render_max_ms']:.2f} of {now['budget_ms']:.2f} ms"
        f" | latency {now['latency_ms']:.1f} ms | CPU {cpu} | messages {extra['messages']} "
        f"failed {extra['failed']} lost {extra['lost']} | late {now['late_commands']} | "
        f"memory {extra['pages_used_mb']:.0f} of {extra['pages_total_mb']:.0f} MB"
    )
