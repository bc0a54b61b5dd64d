"""What the tests of each file cost: wall-clock time, and CPU time of the worker and its children.

    ./run-tests.sh unit -p tests.support.costs

prints the most expensive files of a run. A child's time counts when it has ended and its parent has
waited for it, so that of a killed process with children of its own is incomplete. The last lines
are the sum, and what no test causes: importing and collecting them in each process.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

MAX_ROWS = 60
HEAD = "    wall      CPU   worker  children  file"


@dataclass
class Cost:
    """Seconds: `wall`, CPU time of the worker (`own`) and of its children."""

    wall: float = 0.0
    own: float = 0.0
    children: float = 0.0

    @staticmethod
    def now() -> Cost:
        """Return what this process has used so far."""
        used = os.times()
        return Cost(
            time.monotonic(),
            used.user + used.system,
            used.children_user + used.children_system,
        )

    def add(self, other: Cost, sign: int = 1) -> None:
        """Add another cost, or subtract it with `sign` -1."""
        self.wall += sign * other.wall
        self.own += sign * other.own
        self.children += sign * other.children

    @property
    def cpu(self) -> float:
        """CPU time of the worker and its children."""
        return self.own + self.children

    def row(self, name: str) -> str:
        """Return a row of the table."""
        return f"{self.wall:8.1f} {self.cpu:8.1f} {self.own:8.1f} {self.children:9.1f}  {name}"


class Measured:
    """Adds to each report what has been used since the one before."""

    def __init__(self) -> None:
        self.collected = 0.0
        self._before = Cost.now()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        """Attach `cost` to a report, as numbers that a worker can send."""
        report = yield
        now = Cost.now()
        now.add(self._before, -1)
        report.cost = (now.wall, now.own, now.children)
        self._before.add(now)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Save what the collection costs, up to now: the imports before it are included."""
        result = yield
        now = Cost.now()
        self._before = now
        output = getattr(session.config, "workeroutput", None)
        if output is None:  # without workers, or the process that distributes
            self.collected = now.cpu
        else:
            output["collected"] = now.cpu
        return result


class Costs:
    """Sums the costs by file and prints them."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._files: dict[str, Cost] = defaultdict(Cost)
        self._collected = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of a test."""
        self._files[report.nodeid.partition("::")[0]].add(Cost(*getattr(report, "cost", ())))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker used before its first test."""
        self._collected += getattr(node, "workeroutput", {}).get("collected", 0.0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table."""
        terminalreporter.write_sep("=", "costs in seconds")
        terminalreporter.write_line(HEAD)
        ordered = sorted(self._files.items(), key=lambda one: -one[1].cpu)
        for name, cost in ordered[:MAX_ROWS]:
            terminalreporter.write_line(cost.row(name))
        every = Cost()
        for _name, cost in ordered:
            every.add(cost)
        terminalreporter.write_line(every.row("all files"))
        collected = self._measured.collected + self._collected
        terminalreporter.write_line(f"{collected:17.1f}  collecting, in all processes")


def pytest_configure(config: pytest.Config) -> None:
    """Measure in the processes that run tests, and add up in the one that reports."""
    measured = Measured()
    config.pluginmanager.register(measured, "costs-measured")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Costs(measured), "costs")
