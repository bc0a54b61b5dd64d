"""`/metrics` for Prometheus: the engine's ledger, control's counters, the processes' resources.

The table of metrics: name, kind, unit, help and source of each.

As Prometheus recommends, counters end in `_total` and units are base units (seconds, bytes,
ratios).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
from crowdstream.desk.constants import INPUTS
from crowdstream.desk.opcodes import CAUSES
from crowdstream.monitor.health import bin_edges_ns, engine_readings, playing_voices
from crowdstream.web.auth.connections import aborted
from crowdstream.web.auth.listener_sockets import ConnectionSlots
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.control_client import Busy, ControlClient
from crowdstream.web.resource import resource

if TYPE_CHECKING:
    from starlette.routing import BaseRoute


@dataclass(frozen=True)
class Line:
    """A metric with one value. `source`: the field that holds it; `scale`: factor to base units."""

    name: str
    source: str
    help: str
    counter: bool = False
    scale: float = 1.0


def _counter(name: str, source: str, help: str, scale: float = 1.0) -> Line:
    return Line(f"crowdstream_{name}", source, help, True, scale)


def _gauge(name: str, source: str, help: str, scale: float = 1.0) -> Line:
    return Line(f"crowdstream_{name}", source, help, False, scale)


_MS, _NS, _MB = 1e-3, 1e-9, 1e6

LEDGER = (
    _counter("blocks", "blocks", "blocks rendered"),
    _counter("frames", "frames", "frames rendered"),
    _counter("underruns", "device_flags", "blocks that the device flagged as late"),
    _counter("over_budget_blocks", "over_budget", "renders longer than the block they made"),
    _counter("missing_frames", "missing_frames", "stem frames replaced by silence: page missing"),
    _counter("missing_pages", "missing_pages", "times a stem became silent: page missing"),
    _counter("late_commands", "late_commands", "commands that arrived after their frame"),
    _gauge("latest_command_frames", "latest_frames", "maximum lateness of a command, in frames"),
    _counter("commands", "commands", "commands that the engine has carried out"),
    _counter("pending_refused", "pending_refused", "commands refused: too many were pending"),
    _counter("events_lost", "events_lost", "events of the engine that were not read in time"),
    _counter("hard_cuts", "hard_cuts", "jumps without a fade, because too many happened at once"),
    _counter("nonfinite_frames", "nonfinite", "frames that were not finite and were silenced"),
    _counter("limited_frames", "limited_frames", "frames that the limiter attenuated"),
    _gauge("render_max_seconds", "render_max_ns", "longest render", _NS),
    _gauge("render_last_seconds", "render_ns", "latest render", _NS),
    _gauge("interval_max_seconds", "interval_max_ns", "longest time between two callbacks", _NS),
    _counter("guarded_callbacks", "guarded", "callbacks that failed and output silence"),
    _gauge("realtime", "realtime", "1: real-time priority is held, -1: refused, 0: not tried"),
    _counter("gaps_noted", "gap_count", "gaps of any cause"),
)
"""Fields of the ledger. Gaps by cause and histograms are separate, since they have labels. Fields
that request new maxima (`reset_serial`, `reset_seen`) are internal."""

DESK = (
    _gauge("sample_rate_hertz", "sample_rate", "sample rate"),
    _gauge("block_frames", "buffer_size", "frames per block"),
    _gauge("block_seconds", "budget_ms", "duration of a block: rendering must take less", _MS),
    _gauge("latency_seconds", "latency_ms", "from callback to sound", _MS),
    _gauge("voices", "voices", "voices that are sounding"),
    _gauge("taps", "taps", "taps of the mixer that are recorded or streamed"),
    _gauge("load_ratio", "load", "render time divided by block duration"),
    _gauge("quality_level", "level", "level of load shedding; 0: nothing is bypassed"),
    _counter("quality_lowered", "lowered", "times quality was lowered under load"),
    _counter("takeovers", "takeovers", "times a standby engine took over"),
    _gauge("takeover_gap_seconds", "takeover_gap_ns", "length of the latest takeover's gap", _NS),
)

CONTROL = (
    _counter("osc_messages", "messages", "messages handled, including failed ones"),
    _counter("osc_failed", "failed", "commands that failed"),
    _counter("osc_malformed", "malformed", "packets and messages in bundles that were not OSC"),
    _counter("osc_refused", "refused", "messages and commands refused: queue full"),
    _counter("osc_refused_packets", "refused_packets", "packets refused without being decoded"),
    _counter("osc_limited", "limited", "packets refused: above their sender's rate limit"),
    _counter("osc_barred", "barred", "packets from senders that are not on the allow list"),
    _counter("osc_withheld", "withheld", "replies withheld from unverified senders: too long"),
    _counter("osc_dropped", "dropped", "packets that the kernel dropped"),
    _counter("osc_lost", "lost", "messages refused, packets dropped and commands refused"),
    _gauge("link_peers", "link.peers", "other peers in the Ableton Link session"),
    _gauge("link_deviation_seconds", "link.deviation_ms",
           "by how much the Link session is ahead of the clock", _MS),
    _counter("link_faults", "link.faults", "faults of the Link session or its process"),
    _gauge("waiting_messages", "waiting", "messages scheduled for a time or beat"),
    _gauge("pages_total_bytes", "pages_total_mb", "memory for stems", _MB),
    _gauge("pages_used_bytes", "pages_used_mb", "memory for stems: filled", _MB),
    _gauge("pages_reserved_bytes", "pages_reserved_mb", "memory for stems: reserved", _MB),
    _gauge("pages_pinned_bytes", "pages_pinned_mb", "memory for stems: pinned for jumps", _MB),
    _counter("pages_evicted", "pages_evicted", "pages of 64 KiB evicted"),
    _counter("pages_wanted", "pages_wanted", "pages requested by starts, jumps and playheads"),
    _gauge("pages_hit_ratio", "pages_hit_rate", "share of these pages that were in memory already"),
    _gauge("read_max_seconds", "read_max_ms", "longest read from the storage medium", _MS),
    _counter("stalls", "stalls", "reads from the storage medium that took more than a second"),
    _gauge("stalled_seconds", "stalled_s", "duration of the current stall of the medium"),
    _counter("loader_restarts", "restarts_loader", "times the loader died and was restarted"),
    _counter("control_restarts", "restarts_control", "times control died and was replaced"),
    _gauge("movement_ratio", "movement", "the latest /dance/total_movement"),
    _gauge("recording_files", "recording", "files being recorded"),
    _gauge("recording_seconds", "record_seconds", "length of the latest recording"),
    _gauge("recording_lost_frames", "record_lost", "frames missing in it because of a slow disk"),
    _gauge("broadcasts", "broadcasts", "broadcasts that were started and not stopped"),
    _gauge("broadcasts_live", "broadcasts_live", "of them, connected"),
    _gauge("broadcast_dropped_seconds", "broadcast_dropped_s",
           "audio that was dropped for slow receivers of the present broadcasts"),
    _gauge("broadcast_faults", "broadcast_faults",
           "connections of the present broadcasts that were lost or did not succeed"),
    _counter("events_unwritten", "events_unwritten", "events missing in the file of the event log"),
    _counter("alerts_sent", "alerts_sent", "alerts that a server of --alert-url has accepted"),
    _counter("alerts_failed", "alerts_failed", "alerts given up: too old, or refused"),
    _gauge("alerts_waiting", "alerts_waiting", "alerts that wait for an attempt or an answer"),
    _gauge("jack_ports", "jack_ports", "ports that a JACK server offers for this program"),
    _gauge("jack_connections", "jack_connected", "connections of these ports"),
    _counter("jack_gaps", "jack_gaps", "times that the audio of these ports was interrupted"),
    _gauge("jack_drift_ratio", "jack_drift_ppm",
           "by how much the engine's clock is fast, compared with JACK: 1e-6 is 1 ppm", 1e-6),
    _gauge("rooms", "rooms.count", "rooms that follow this one"),
    _gauge("rooms_in_step", "rooms.in_step", "rooms that are in step with this one"),
    _gauge("rooms_deviation_seconds", "rooms.deviation_ms",
           "by how much this room is behind its leader, or the largest of a leader's rooms", _MS),
    _gauge("rooms_error_seconds", "rooms.error_ms", "uncertainty of the leader's clock", _MS),
    _gauge("rooms_drift_ppm", "rooms.drift_ppm", "correction of the output's rate"),
    _counter("rooms_rejected", "rooms.rejected", "packets that were forged or repeated"),
    _counter("rooms_repairs", "rooms.repairs", "differences between rooms that were corrected"),
    _counter("rooms_faults", "rooms.faults", "rooms or leaders that were lost"),
    _gauge("lights_outputs", "lights_outputs", "targets of lights"),
    _gauge("lights_sending", "lights_sending", "targets of lights that receive"),
    _counter("lights_sent", "lights_sent", "messages and DMX frames sent to lights"),
    _counter("lights_lost", "lights_lost", "messages and DMX frames discarded: not taken in time"),
    _counter("lights_failures", "lights_failures", "times that a target of lights failed"),
    _gauge("midi_ports", "midi_ports", "MIDI ports that are wanted"),
    _gauge("midi_connected", "midi_connected", "MIDI ports that are connected"),
    _gauge("midi_locked", "midi_locked", "1: a followed MIDI clock is locked"),
    _gauge("midi_tempo_bpm", "midi_bpm", "tempo of a followed MIDI clock, beats per minute"),
    _gauge("midi_error_seconds", "midi_error_ms", "time by which its beats are ahead", _MS),
    _counter("midi_lost", "midi_lost", "messages of MIDI devices that were discarded"),
    _counter("midi_absurd", "midi_absurd", "times that a MIDI clock had a tempo out of range"),
    _counter("midi_ticks", "midi_ticks", "MIDI clock ticks sent"),
    _gauge("device_lost", "device_lost", "1: the sound device is gone and being searched for"),
)
"""Metrics of control, by their names in the status (docs/reference/osc/index.md)."""



@dataclass(frozen=True)
class Labelled:
    """A metric with one value per label, or a histogram. `kind`: counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


GAPS = Labelled("crowdstream_gaps", "counter", "underruns and other gaps by cause", ("cause",))
RENDER = Labelled(
    "crowdstream_render_seconds", "histogram",
    "time to render a block; the sum is estimated from the buckets",
)  # fmt: skip
INTERVAL = Labelled(
    "crowdstream_interval_seconds", "histogram",
    "time between two callbacks; the sum is estimated from the buckets",
)  # fmt: skip
CONTROL_UP = Labelled(
    "crowdstream_control_up", "gauge",
    "1: control responds; 0: its metrics are the latest that were received",
)  # fmt: skip
INFO = Labelled(
    "crowdstream_info", "gauge", "1; version, driver and device", ("version", "driver", "device")
)
STANDBY_STATE = Labelled(
    "crowdstream_standby", "gauge", "1: the state of the standby engine", ("state",)
)
PROCESS_CPU = Labelled(
    "crowdstream_process_cpu_seconds", "counter",
    "CPU time of a process and its predecessors", ("process",),
)  # fmt: skip
PROCESS_MEMORY = Labelled(
    "crowdstream_process_resident_memory_bytes", "gauge",
    "resident memory of a process, including the parts of the desk it has touched", ("process",),
)  # fmt: skip
_INPUT = ("input",)
INPUT_METRICS = (
    (Labelled("crowdstream_input_fill_seconds", "gauge",
              "audio of a live input that waits to be played", _INPUT), "fill_ms", _MS),
    (Labelled("crowdstream_input_latency_seconds", "gauge",
              "from the device of a live input to the mix", _INPUT), "latency_ms", _MS),
    (Labelled("crowdstream_input_drift_ratio", "gauge",
              "by how much the clock of its device is fast: 1e-6 is 1 ppm", _INPUT),
     "drift_ppm", 1e-6),
    (Labelled("crowdstream_input_gaps", "counter",
              "times a live input ran out of audio or began again", _INPUT), "gaps", 1.0),
    (Labelled("crowdstream_input_overflows", "counter",
              "blocks before which its device lost audio", _INPUT), "overflows", 1.0),
    (Labelled("crowdstream_input_talking", "gauge",
              "1: its talkover ducks the music", _INPUT), "talking", 1.0),
)  # fmt: skip
"""Metrics of the live inputs, with their names in the status and factors to base units."""
INPUT_STATE = Labelled(
    "crowdstream_input", "gauge", "1: the state of a live input", ("input", "state")
)
LINK_STATE = Labelled("crowdstream_link", "gauge", "1: the state of Ableton Link", ("state",))
LINK_STATES = (
    "off", "joining", "failed", "alone", "approaching", "locked", "leading", "contested",
    "unplayable",
)
"""States of Ableton Link."""
PAGES = Labelled("crowdstream_web_pages", "gauge", "open pages")
LISTENERS = Labelled("crowdstream_web_listeners", "gauge", "listeners of the audio stream")
SOCKETS = Labelled("crowdstream_web_sockets", "gauge", "open WebSockets")
CONNECTIONS = Labelled(
    "crowdstream_web_connections", "gauge", "open connections, including WebSockets"
)
REQUESTS = Labelled("crowdstream_web_requests", "counter", "HTTP requests")
REFUSED = Labelled("crowdstream_web_refused", "counter", "refused requests by reason", ("reason",))
LABELLED = (
    GAPS, RENDER, INTERVAL, CONTROL_UP, INFO, STANDBY_STATE, PROCESS_CPU, PROCESS_MEMORY,
    *(about for about, _name, _scale in INPUT_METRICS), INPUT_STATE, LINK_STATE, PAGES,
    LISTENERS, SOCKETS, CONNECTIONS, REQUESTS, REFUSED,
)  # fmt: skip

STANDBY = ("running", "warm", "none")
"""States of the standby engine."""


INPUT_STATES = ("off", "searching", "waiting", "playing", "muted", "feedback")
"""States of a live input."""


BUCKET_STEP = 2  # bins of the ledger per bucket: half an octave


def _counter_family(about: Labelled, value: float | None = None) -> CounterMetricFamily:
    return CounterMetricFamily(about.name, about.help, value=value, labels=about.labels or None)


def _gauge_family(about: Labelled, value: float | None = None) -> GaugeMetricFamily:
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
        gaps = _counter_family(GAPS)
        for cause, count in zip(CAUSES, ledger["gaps"], strict=True):
            gaps.add_metric([cause], self._counters.update(("gap", cause), int(count)))
        yield gaps
        yield self._histogram(RENDER, ledger["render_hist"])
        yield self._histogram(INTERVAL, ledger["interval_hist"])
        yield from self._lines(DESK, self._desk())
        yield from self._lines(CONTROL, self._health)
        yield from self._states()
        yield from self._inputs()
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
        yield _gauge_family(CONTROL_UP, int(self._control_up))
        info = _gauge_family(INFO)
        names = (about.get("version"), health.get("driver"), health.get("device"))
        info.add_metric([str(one or "") for one in names], 1)
        yield info
        if "link.state" in health:
            link = _gauge_family(LINK_STATE)
            for state in LINK_STATES:
                link.add_metric([state], int(state == health["link.state"]))
            yield link
        if "standby" in health:
            standby = _gauge_family(STANDBY_STATE)
            for state in sorted({*STANDBY, str(health["standby"])}):
                standby.add_metric([state], int(state == health["standby"]))
            yield standby

    def _inputs(self) -> Iterator[Metric]:
        health = self._health
        names = [str(number + 1) for number in range(INPUTS)]
        for about, field, scale in INPUT_METRICS:
            family = (_counter_family if about.kind == "counter" else _gauge_family)(about)
            for name in names:
                value = float(health.get(f"input.{name}.{field}", 0.0)) * scale
                if about.kind == "counter":
                    value = self._counters.update((about.name, name), value)
                family.add_metric([name], value)
            yield family
        state = _gauge_family(INPUT_STATE)
        for name in names:
            now = health.get(f"input.{name}.state", "off")
            for one in INPUT_STATES:
                state.add_metric([name, one], int(one == now))
        yield state

    def _usage(self) -> Iterator[Metric]:
        cpu, memory = _counter_family(PROCESS_CPU), _gauge_family(PROCESS_MEMORY)
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
        yield _gauge_family(PAGES, sockets["/live"])
        yield _gauge_family(LISTENERS, sockets["/listen"])
        yield _gauge_family(SOCKETS, sum(sockets.values()))
        yield _gauge_family(CONNECTIONS, self._web.places.total)
        yield _counter_family(REQUESTS, gate.requests)
        refused = _counter_family(REFUSED)
        for reason, count in gate.refused.items():
            refused.add_metric([reason], count)
        for reason, count in aborted.items():
            refused.add_metric([f"connection_{reason}"], count)
        refused.add_metric(["connections"], self._web.places.refused)
        yield refused


def routes(web: Web) -> list[BaseRoute]:
    """The route of `/metrics`."""
    return [resource("/metrics", get=Metrics(web).scrape)]
