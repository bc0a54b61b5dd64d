"""The report of a whole run: one line of progress, then a table of the tiers.

`run-tests.sh` loads this as a plugin (`-p tests.support.summary`). It also puts the slowest files
first, as measured in the last run or from `USUAL_SECONDS`, so that the workers finish together.
`--results FILE` writes one JSON line per test; `python -m tests.support.summary FILE ...` compares
such files of several runs. A run whose disk becomes full is ended with a special exit status.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest

TIERS = ("static", "unit", "integration", "system", "browser", "fuzz")
DURATIONS = "crowdstream/durations"
ALONE = ("tests/browser/test_listen.py",)
"""Run last, when the other workers are idle: an audio graph in real time."""
USUAL_SECONDS = {
    "tests/system/test_broadcast.py": 190.0, "tests/browser/test_page_axe.py": 130.0,
    "tests/integration/fleet/test_rollout.py": 120.0, "tests/integration/test_link.py": 115.0,
    "tests/system/test_link_hut.py": 105.0, "tests/integration/test_upgrade.py": 100.0,
    "tests/system/test_jack_ports.py": 95.0, "tests/system/test_newcomer.py": 90.0,
    "tests/system/test_rooms.py": 80.0, "tests/system/test_snapcast.py": 75.0,
    "tests/browser/test_page_layout.py": 75.0, "tests/integration/test_supervisor.py": 65.0,
    "tests/system/test_midi.py": 55.0, "tests/system/test_documented_commands.py": 55.0,
    "tests/integration/fleet/test_fleet.py": 45.0, "tests/system/test_failover.py": 40.0,
    "tests/integration/benchmarks/test_soak.py": 40.0, "tests/browser/test_page_colours.py": 40.0,
    "tests/integration/benchmarks/test_listening.py": 37.0,
    "tests/integration/benchmarks/test_startup.py": 36.0,
    "tests/integration/lights/test_lights.py": 32.0,
    "tests/integration/test_loader_deaths.py": 30.0, "tests/system/test_device.py": 29.0,
    "tests/integration/test_resizing.py": 28.0,
    "tests/integration/mcp/test_mcp_server.py": 26.0,
    "tests/integration/dj/test_version_change.py": 26.0,
    "tests/integration/dj/test_autopilot_server.py": 25.0, "tests/system/test_wheel.py": 23.0,
    "tests/integration/test_server.py": 22.0,
}  # fmt: skip
"""Durations of files for a new checkout without an earlier run, as on the CI machine."""
MIN_FREE_BYTES = 64 << 20
"""A run is ended when less space than this is left for temporary files."""
FULL = errno.ENOSPC
"""Exit status of such a run."""
PROGRESS_SECONDS = 30.0
"""Interval of progress lines if the output is not a terminal."""


@dataclass
class TierCounts:
    """Results of the tests of one tier; `seconds` is the sum over its tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, other: TierCounts) -> None:
        """Add the results of another tier."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.seconds += other.seconds

    def row(self, name: str) -> str:
        """Return a row of the table."""
        return f"{name:12} {self.passed:7} {self.failed:7} {self.skipped:8} {self.seconds:8.0f}"


def tier_of(test: str) -> str:
    """Return the tier of a test or file: its folder below `tests/`."""
    parts = test.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "tests" else "other"


def skip_reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", "")) or "no reason given"


def free_bytes() -> int:
    """Return the free space for the temporary files of the tests."""
    return shutil.disk_usage(tempfile.gettempdir()).free


class Summary:
    """Counts the reports of a run and prints them."""

    def __init__(self, config: pytest.Config, out: TextIO) -> None:
        self._config = config
        self._out = out
        self._live = out.isatty()
        self._begin = self._printed = time.monotonic()
        self._total = 0
        self._tiers: dict[str, TierCounts] = defaultdict(TierCounts)
        self._files: dict[str, float] = defaultdict(float)
        self._outcomes: dict[str, str] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._session: pytest.Session | None = None
        self._full = False

    # Progress ----------------------------------------------------------------------------

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Save the session, to be able to end the run."""
        self._session = session

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers: count the tests."""
        self._total = max(self._total, len(session.items))

    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """With workers, each of which collects all tests: count them."""
        self._total = max(self._total, len(ids))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """Keep pytest from printing a letter for each test; it still counts them."""
        if report.outcome == "failed":
            return ("failed" if report.when == "call" else "error", "", "")
        if report.outcome == "skipped":
            return "skipped", "", ""
        return ("passed" if report.when == "call" else "", "", "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of a test."""
        test = report.nodeid
        counts = self._tiers[tier_of(test)]
        counts.seconds += report.duration
        self._files[test.partition("::")[0]] += report.duration
        self._seconds[test] += report.duration
        before = self._outcomes.get(test)
        if report.failed and before != "failed":
            counts.failed += 1
            if before == "passed":  # its teardown has failed
                counts.passed -= 1
            self._outcomes[test] = "failed"
            self._line(f"FAILED {test}")
        elif report.skipped:
            counts.skipped += 1
            counts.reasons[skip_reason(report)] += 1
            self._outcomes[test] = "skipped"
        elif report.when == "call" and before is None:
            counts.passed += 1
            self._outcomes[test] = "passed"
        self._show_progress()
        self._end_when_full(report)

    def _end_when_full(self, report: pytest.TestReport) -> None:
        # Files of the failed test may already be deleted, but its error message remains.
        left = free_bytes()
        failed = report.failed and os.strerror(FULL) in report.longreprtext
        full = left < MIN_FREE_BYTES or (failed and left < 16 * MIN_FREE_BYTES)
        if full and not self._full and self._session is not None:
            self._full = True
            # With workers, stop their scheduler, otherwise the session.
            ending: Any = self._config.pluginmanager.getplugin("dsession") or self._session
            ending.shouldstop = f"the disk is full: {left >> 20} MB are left"

    def _show_progress(self) -> None:
        now = time.monotonic()
        if now - self._printed < (0.1 if self._live else PROGRESS_SECONDS):
            return
        self._printed = now
        done = len(self._outcomes)
        failed = sum(counts.failed for counts in self._tiers.values())
        share = f"{done / self._total:4.0%}" if self._total else "    "
        text = (
            f"[{share}] {done} of {self._total} tests, {failed} failed, {now - self._begin:.0f} s"
        )
        self._out.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._out.flush()

    def _line(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
        self._out.flush()

    # The end -----------------------------------------------------------------------------

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Save the durations for the next run, and the results if requested."""
        if self._full:
            session.exitstatus = FULL
        if self._live:
            self._out.write("\r\x1b[K")
        cache = getattr(self._config, "cache", None)
        if cache is not None:
            known = cache.get(DURATIONS, {})
            cache.set(DURATIONS, {**known, **self._files})
        path = self._config.getoption("--results")
        if path:
            try:
                self._write_results(Path(path))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                session.exitstatus = FULL

    def _write_results(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for test, outcome in self._outcomes.items():
                line = {"test": test, "outcome": outcome, "seconds": self._seconds[test]}
                file.write(json.dumps(line) + "\n")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table, why tests were skipped, and how to rerun each failed test."""
        terminalreporter.write_sep("=", "summary")
        for line in self.table():
            terminalreporter.write_line(line)
        for tier, counts in self._ordered():
            for reason, count in counts.reasons.items():
                terminalreporter.write_line(f"skipped in {tier} ({count}): {reason}")
        failed = [test for test, outcome in self._outcomes.items() if outcome == "failed"]
        if failed:
            terminalreporter.write_line("run a failed test again with:")
        for test in sorted(failed):
            terminalreporter.write_line(f"    ./run-tests.sh {shlex.quote(test)}")

    def _ordered(self) -> Iterator[tuple[str, TierCounts]]:
        for tier in (*TIERS, "other"):
            if tier in self._tiers:
                yield tier, self._tiers[tier]

    def table(self) -> Iterator[str]:
        """Yield the lines of the table; seconds are sums over all tests, not wall-clock time."""
        yield "tier          passed  failed  skipped  seconds"
        every = TierCounts()
        for tier, counts in self._ordered():
            yield counts.row(tier)
            every.add(counts)
        yield every.row("all")


class SlowestFirst:
    """Orders the files of a run by their duration in the last run, the longest first."""

    def __init__(self, config: pytest.Config) -> None:
        workerinput = getattr(config, "workerinput", None)
        if workerinput is not None:
            self.known = workerinput["durations"]
        else:
            # Optional in pytest 8's types and not in pytest 9's; absent with -p no:cacheprovider.
            cache = getattr(config, "cache", None)
            self.known = cache.get(DURATIONS, {}) if cache is not None else {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Make all workers use the same order, even if another run writes meanwhile."""
        node.workerinput["durations"] = self.known

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the slowest files first; among unknown ones, those of the slow tiers."""
        items.sort(key=lambda item: self._rank(item.nodeid.partition("::")[0]))

    def _rank(self, file: str) -> tuple[bool, float, int, str]:
        slow = ("system", "browser", "static", "integration", "fuzz", "unit")
        tier = tier_of(file)
        place = slow.index(tier) if tier in slow else len(slow)
        seconds = self.known.get(file, USUAL_SECONDS.get(file, 0.0))
        return file in ALONE, -seconds, place, file


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--results`."""
    parser.addoption("--results", metavar="FILE", help="write one JSON line per test")


def pytest_configure(config: pytest.Config) -> None:
    """Replace pytest's progress by this one, in the process that reports."""
    config.pluginmanager.register(SlowestFirst(config), "slowest-first")
    if not hasattr(config, "workerinput"):
        # A shell makes background processes ignore Ctrl-C, and Python keeps that setting.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        config.pluginmanager.register(Summary(config, sys.stdout), "tier-summary")


def unsteady(runs: Sequence[Path]) -> dict[str, list[str]]:
    """Return the tests that did not pass in every run, with their outcomes ("missing" if none).

    A test that every run skips is not listed.
    """
    outcomes: dict[str, dict[int, str]] = defaultdict(dict)
    for number, run in enumerate(runs):
        for line in run.read_text(encoding="utf-8").splitlines():
            result = json.loads(line)
            outcomes[result["test"]][number] = result["outcome"]
    found = {}
    for test, seen in outcomes.items():
        row = [seen.get(number, "missing") for number in range(len(runs))]
        if set(row) not in ({"passed"}, {"skipped"}):
            found[test] = row
    return dict(sorted(found.items()))


def main(arguments: Sequence[str]) -> int:
    """List every test that did not pass every time. Returns 1 if there is any."""
    runs = [Path(argument) for argument in arguments]
    found = unsteady(runs)
    for test, row in found.items():
        counts = ", ".join(f"{row.count(word)} {word}" for word in dict.fromkeys(row))
        print(f"{test}: {counts}")
    print(f"{len(runs)} runs: {len(found)} tests did not pass every time")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
