"""The metrics for Prometheus, its alert rules, and the Grafana dashboard."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp

from crowdstream.control.peers.link import STATES
from crowdstream.desk.dtypes import LEDGER
from crowdstream.desk.opcodes import CAUSES
from crowdstream.web.api.metrics import CONTROL, MonotonicCounters, routes
from crowdstream.web.api.metrics import LEDGER as LINES
from tests.support.web_client import FakeWeb, ask

CONTRIB = Path(__file__).resolve().parents[4] / "contrib"
DASHBOARD = CONTRIB / "grafana-dashboard.json"
RULES = CONTRIB / "prometheus-alerts.yml"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def app(web: FakeWeb) -> ASGIApp:
    web.link.about["pids"] = {"control": os.getpid()}
    return web.app(routes(web))  # type: ignore[arg-type]


def scrape(app: ASGIApp) -> Samples:
    answer = ask(app, "GET", "/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation, family.name
        assert family.name.startswith("crowdstream_")
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, "told twice"
            found[key] = sample.value
    return found


def plain(samples: Samples) -> dict[str, float]:
    return {name: value for (name, labels), value in samples.items() if not labels}


def test_every_ledger_field_has_a_metric(web: FakeWeb, app: ASGIApp) -> None:
    assert LEDGER.names is not None
    elsewhere = {"gaps", "render_hist", "interval_hist"}
    internal = {"reset_serial", "reset_seen"}
    assert {one.source for one in LINES} | elsewhere | internal == set(LEDGER.names)
    ledger = web.desk.ledger
    for number, name in enumerate(LEDGER.names, 1):
        if LEDGER[name].shape == () and name not in internal:
            ledger[name] = 1000 * number
    ledger["gaps"] = range(1, 1 + len(CAUSES))
    samples = scrape(app)
    told = plain(samples)
    for line in LINES:
        name = f"{line.name}_total" if line.counter else line.name
        assert told[name] == pytest.approx(float(ledger[line.source]) * line.scale), name
    for number, cause in enumerate(CAUSES, 1):
        assert samples["crowdstream_gaps_total", (("cause", cause),)] == number


def test_histograms_are_cumulative_in_seconds(web: FakeWeb, app: ASGIApp) -> None:
    hist = web.desk.ledger["render_hist"]
    hist[:] = 0
    hist[10], hist[11], hist[63] = 5, 2, 1  # up to 7168 ns and 8192 ns; longer than the last edge
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in scrape(app).items()
        if name == "crowdstream_render_seconds_bucket"
    }
    values = list(buckets.values())
    assert values == sorted(values) and list(buckets)[-1] == "+Inf"
    edges = [float(edge) for edge in buckets]
    assert edges == sorted(edges)
    assert buckets["8.192e-06"] == 7 and buckets["6.144e-06"] == 0
    assert values[-2:] == [7, 8]
    told = plain(scrape(app))
    assert told["crowdstream_render_seconds_count"] == 8
    assert 0 < told["crowdstream_render_seconds_sum"] < 0.1


def test_control_metrics_use_the_names_of_the_status(
    web: FakeWeb, app: ASGIApp
) -> None:
    web.link.rig.send("/deck/A/level", 9.0)
    health = {**web.link.rig.core.status.control_readings(), "device_lost": 0, "standby": "warm"}
    assert {one.source for one in CONTROL} <= set(health)
    web.link.picture = {"health": health}
    samples = scrape(app)
    told = plain(samples)
    for line in CONTROL:
        name = f"{line.name}_total" if line.counter else line.name
        assert told[name] == pytest.approx(float(health[line.source]) * line.scale), name
    assert told["crowdstream_osc_failed_total"] == 1
    assert samples["crowdstream_standby", (("state", "warm"),)] == 1
    assert samples["crowdstream_standby", (("state", "none"),)] == 0


def test_counters_never_decrease_when_control_or_the_ledger_restart(
    web: FakeWeb, app: ASGIApp
) -> None:
    before = scrape(app)
    health = web.link.rig.core.status.control_readings()
    latest = dict(before)
    for messages in (100, 7, 0, 3):
        web.link.picture = {"health": {**health, "messages": messages}}
        web.desk.ledger["render_hist"][4] = messages
        samples = scrape(app)
        for (name, labels), value in samples.items():
            if name.endswith(("_total", "_bucket", "_count")):
                assert value >= latest.get((name, labels), 0.0), name
        latest = samples
    told = plain(latest)
    assert told["crowdstream_osc_messages_total"] == 110
    assert told["crowdstream_render_seconds_count"] == 110


def test_a_restarting_control_keeps_its_latest_metrics(
    web: FakeWeb, app: ASGIApp
) -> None:
    first = scrape(app)
    web.link.busy = True
    second = scrape(app)
    assert set(first) == set(second)
    assert plain(first)["crowdstream_control_up"] == 1
    assert plain(second)["crowdstream_control_up"] == 0


def test_process_and_client_metrics(web: FakeWeb, app: ASGIApp) -> None:
    web.gate.sockets.update({"/live": 3, "/listen": 2})
    ask(app, "GET", "/metrics", host="evil.example")
    samples = scrape(app)
    process = (("process", "control"),)
    assert samples["crowdstream_process_cpu_seconds_total", process] > 0
    assert samples["crowdstream_process_resident_memory_bytes", process] > 1e6
    web.link.about["pids"] = {}
    gone = scrape(app)
    assert gone["crowdstream_process_cpu_seconds_total", process] > 0, "counted on from there"
    assert ("crowdstream_process_resident_memory_bytes", process) not in gone
    told = plain(samples)
    assert (told["crowdstream_web_pages"], told["crowdstream_web_listeners"]) == (3, 2)
    assert told["crowdstream_web_requests_total"] == 2
    assert samples["crowdstream_web_refused_total", (("reason", "host"),)] == 1


def test_openmetrics_format_is_negotiated(app: ASGIApp) -> None:
    answer = ask(app, "GET", "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_counter_survives_restarts_of_its_source() -> None:
    counters = MonotonicCounters()
    assert [counters.update("a", value) for value in (3, 5, 1, 2, 0, 4)] == [3, 5, 6, 7, 7, 11]
    assert counters.update("b", 1) == 1


# The dashboard ---------------------------------------------------------------------------------


def test_the_dashboard_uses_only_existing_metrics(web: FakeWeb, app: ASGIApp) -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    web.link.picture = {
        "health": {**web.link.rig.core.status.control_readings(), "device_lost": 0,
                   "standby": "warm"}
    }  # fmt: skip
    known = {name for name, _ in scrape(app)}
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    asked = set()
    for panel in panels:
        assert panel["title"] and panel["targets"] and panel["datasource"]["uid"] == "${source}"
        for target in panel["targets"]:
            asked |= set(re.findall(r"crowdstream_\w+", target["expr"]))
    assert asked <= known, asked - known
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    # All metrics except those that are only useful beside others.
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert not bases - shown, bases - shown


def test_alert_rules_name_existing_metrics_and_labels(app: ASGIApp, web: FakeWeb) -> None:
    web.link.picture = {
        "health": {**web.link.rig.core.status.control_readings(), "device_lost": 0,
                   "standby": "warm"}
    }  # fmt: skip
    samples = scrape(app)
    known = {name for name, _ in samples}
    labels = {name: {label for label, _ in found} for name, found in samples}
    text = RULES.read_text(encoding="utf-8")
    rules = re.findall(
        r"^      - alert: (\w+)\n        expr: (.+)\n(?:        for: \d+[sm]\n)?"
        r"        labels:\n          severity: (?:warning|critical)\n"
        r'        annotations:\n          summary: "([^"]+)"\n',
        text, re.MULTILINE,
    )  # fmt: skip
    assert len(rules) == text.count("- alert: ") >= 10
    assert len({name for name, *_ in rules}) == len(rules)
    for name, expression, summary in rules:
        asked = set(re.findall(r"crowdstream_\w+", expression))
        assert asked <= known, (name, asked - known)
        assert asked or expression.startswith("up{"), name
        for metric, label in re.findall(r"(crowdstream_\w+){(\w+)", expression):
            assert label in labels[metric], name
        used = set(re.findall(r"\$labels\.(\w+)", summary)) - {"instance"}
        assert used <= {label for metric in asked for label in labels[metric]}, name
    causes = set(re.findall(r'cause!?="(\w+)"', text))
    assert causes and causes <= set(CAUSES)


def test_dashboard_panels_do_not_overlap() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_live_inputs_have_metrics(web: FakeWeb, app: ASGIApp) -> None:
    readings = web.link.rig.core.status.control_readings()
    web.link.picture = {
        "health": {
            **readings, "input.2.state": "feedback", "input.2.drift_ppm": -150.0,
            "input.2.latency_ms": 40.0, "input.2.gaps": 3,
        }
    }
    samples = scrape(app)
    second = ("input", "2")
    assert samples["crowdstream_input_drift_ratio", (second,)] == pytest.approx(-1.5e-4)
    assert samples["crowdstream_input_latency_seconds", (second,)] == pytest.approx(0.04)
    assert samples["crowdstream_input_gaps_total", (second,)] == 3
    states = {key[1][1][1]: value for key, value in samples.items()
              if key[0] == "crowdstream_input" and second in key[1]}
    assert states["feedback"] == 1 and sum(states.values()) == 1
    assert samples["crowdstream_input", (("input", "1"), ("state", "off"))] == 1


def test_link_has_metrics(web: FakeWeb, app: ASGIApp) -> None:
    readings = web.link.rig.core.status.control_readings()
    web.link.picture = {
        "health": {
            **readings, "link.state": "locked", "link.peers": 2, "link.deviation_ms": -1.5,
            "link.faults": 3,
        }
    }
    samples = scrape(app)
    assert samples["crowdstream_link_peers", ()] == 2
    assert samples["crowdstream_link_deviation_seconds", ()] == pytest.approx(-0.0015)
    assert samples["crowdstream_link_faults_total", ()] == 3
    states = {key[1][0][1]: value for key, value in samples.items() if key[0] == "crowdstream_link"}
    assert tuple(states) == STATES
    assert states["locked"] == 1 and sum(states.values()) == 1
