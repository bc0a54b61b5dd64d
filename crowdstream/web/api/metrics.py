"""`/metrics` for Prometheus: the engine's ledger, control's counters, the processes' resources."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import psutil
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from crowdstream.desk.block import Desk
from crowdstream.desk.opcodes import CAUSES
from crowdstream.monitor.health import bin_edges_ns, engine_readings, playing_voices
from crowdstream.web.api.metrics_table import (
    CONNECTIONS,
    CONTROL,
    CONTROL_UP,
    DESK,
    GAPS,
    INFO,
    INTERVAL,
    LEDGER,
    LISTENERS,
    PAGES,
    PROCESS_CPU,
    PROCESS_MEMORY,
    REFUSED,
    RENDER,
    REQUESTS,
    SOCKETS,
    STANDBY,
    STANDBY_STATE,
    Labelled,
)
from crowdstream.web.api.metrics_table import Metric as Line
from crowdstream.web.auth.connections import aborted
from crowdstream.web.auth.listener_sockets import ConnectionSlots
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.control_client import Busy, ControlClient
from crowdstream.web.resource import resource

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

BUCKET_STEP = 2  # bins of the ledger per bucket: half an octave


def _counter(about: Labelled, value: float | None = None) -> CounterMetricFamily:
    return CounterMetricFamily(about.name, about.help, value=value, labels=about.labels or None)


def _gauge(about: Labelled, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(about.name, about.help, value=value, labels=about.labels or None)


class MonotonicCounters:
    """Counters that never decrease, although the underlying counts restart with their process."""

    def __init__(self) -> None:
        self._latest: dict[Any, float] = {}
        self._before: dict[Any, float] = {}

    def update(self, key: Any, value: float) -> float:
        """Record the current count of `key`. Returns its total over all restarts."""
        if value < self._latest.get(key, 0.0):
            self._before[key] = self._before.get(key, 0.0) + self._latest[key]
        self._latest[key] = value
        return self._before.get(key, 0.0) + value


class Web(Protocol):
    """The part of `app.Web` that this module uses."""

    desk: Desk
    gate: AccessMiddleware
    link: ControlClient
    places: ConnectionSlots


class Metrics(Collector):
    """Collects all metrics during a scrape."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._counters = MonotonicCounters()
        self._health: dict[str, Any] = {}
        self._control_up = False
        self._processes: dict[int, psutil.Process] = {}
        self._cpu: dict[str, float] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the metrics are only known during a scrape."""
        return []

    async def scrape(self, request: Request) -> Response:
        """Handle `GET /metrics`."""
        try:
            picture = await self._web.link.complete_picture()
            self._health = picture.get("health", self._health)
            self._control_up = True
        except Busy:  # its latest numbers are the best available
            self._control_up = False
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(
            encode(self.registry), headers={"content-type": kind, "cache-control": "no-store"}
        )

    def collect(self) -> Iterator[Metric]:
        """The current value of every metric."""
        ledger = self._web.desk.ledger
        yield from self._lines(LEDGER, {one.source: ledger[one.source] for one in LEDGER})
        gaps = _counter(GAPS)
        for cause, count in zip(CAUSES, ledger["gaps"], strict=True):
            gaps.add_metric([cause], self._counters.update(("gap", cause), int(count)))
        yield gaps
        yield self._histogram(RENDER, ledger["render_hist"])
        yield self._histogram(INTERVAL, ledger["interval_hist"])
        yield from self._lines(DESK, self._desk())
        yield from self._lines(CONTROL, self._health)
        yield from self._states()
        yield from self._usage()
        yield from self._visitors()

    def _lines(self, lines: Iterable[Line], values: dict[str, Any]) -> Iterator[Metric]:
        for line in lines:
            value = values.get(line.source)
            if value is None:
                continue
            number = float(value) * line.scale
            if line.counter:
                number = self._counters.update(line.name, number)
                yield CounterMetricFamily(line.name, line.help, value=number)
            else:
                yield GaugeMetricFamily(line.name, line.help, value=number)

    def _histogram(self, about: Labelled, bins: np.ndarray) -> Metric:
        edges = bin_edges_ns() * 1e-9
        counts = [
            self._counters.update((about.name, bin), int(count)) for bin, count in enumerate(bins)
        ]
        cumulative = np.cumsum(counts)
        # The last bin has no upper edge: it counts everything longer.
        buckets = [
            (f"{edges[bin]:.9g}", float(cumulative[bin]))
            for bin in range(BUCKET_STEP - 1, len(edges) - 1, BUCKET_STEP)
        ]
        buckets.append(("+Inf", float(cumulative[-1])))
        middles = edges - np.diff(edges, prepend=1.024e-6) / 2
        family = HistogramMetricFamily(about.name, about.help)
        family.add_metric([], buckets, float(np.dot(middles, counts)))
        return family

    def _desk(self) -> dict[str, Any]:
        desk = self._web.desk
        quality, lease = desk.quality, desk.lease
        return {
            **engine_readings(desk), "voices": playing_voices(desk),
            "taps": int(np.count_nonzero(desk.taps["on"])),
            "load": float(quality["load"]), "level": int(quality["level"]),
            "lowered": int(quality["lowered"]), "takeovers": int(lease["takeovers"]),
            "takeover_gap_ns": int(lease["gap_ns"]),
        }  # fmt: skip

    def _states(self) -> Iterator[Metric]:
        health, about = self._health, self._web.link.about
        yield _gauge(CONTROL_UP, int(self._control_up))
        info = _gauge(INFO)
        names = (about.get("version"), health.get("driver"), health.get("device"))
        info.add_metric([str(one or "") for one in names], 1)
        yield info
        if "standby" in health:
            standby = _gauge(STANDBY_STATE)
            for state in sorted({*STANDBY, str(health["standby"])}):
                standby.add_metric([state], int(state == health["standby"]))
            yield standby

    def _usage(self) -> Iterator[Metric]:
        cpu, memory = _counter(PROCESS_CPU), _gauge(PROCESS_MEMORY)
        for name, pid in self._web.link.about.get("pids", {}).items():
            with contextlib.suppress(psutil.Error):
                known = self._process(int(pid))
                with known.oneshot():
                    times, resident = known.cpu_times(), known.memory_info().rss
                self._cpu[name] = self._counters.update(("cpu", name), times.user + times.system)
                memory.add_metric([name], resident)
        # The CPU time of a dead process is kept: its successor's time is added.
        for name, seconds in self._cpu.items():
            cpu.add_metric([name], seconds)
        yield cpu
        yield memory

    def _process(self, pid: int) -> psutil.Process:
        known = self._processes.get(pid)
        if known is None or not known.is_running():
            alive = self._web.link.about.get("pids", {}).values()
            self._processes = {one: p for one, p in self._processes.items() if one in alive}
            known = self._processes[pid] = psutil.Process(pid)
        return known

    def _visitors(self) -> Iterator[Metric]:
        gate = self._web.gate
        sockets = gate.sockets
        yield _gauge(PAGES, sockets["/live"])
        yield _gauge(LISTENERS, sockets["/listen"])
        yield _gauge(SOCKETS, sum(sockets.values()))
        yield _gauge(CONNECTIONS, self._web.places.total)
        yield _counter(REQUESTS, gate.requests)
        refused = _counter(REFUSED)
        for reason, count in gate.refused.items():
            refused.add_metric([reason], count)
        for reason, count in aborted.items():
            refused.add_metric([f"connection_{reason}"], count)
        refused.add_metric(["connections"], self._web.places.refused)
        yield refused


def routes(web: Web) -> list[BaseRoute]:
    """The route of `/metrics`."""
    return [resource("/metrics", get=Metrics(web).scrape)]
