"""Which worker runs which files of the tests."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.support.summary import ALONE

COMPUTING = (
    "tests/system/test_newcomer.py", "tests/system/test_wheel.py",
    "tests/integration/library/", "tests/integration/offline/", "tests/integration/engine/",
    "tests/integration/benchmarks/test_renderers.py",
    "tests/integration/benchmarks/test_stretch.py",
)  # fmt: skip
"""Files of the two tiers of processes and devices that compute most of the time."""
BROWSER_GROUPS = 3


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of a file on one worker, as they share its servers and sounds.

    Those of the page are put into `BROWSER_GROUPS` groups of files, each of which shares a browser.
    Half of the workers prefer files that mostly wait for sound and processes, and the others those
    that compute: the cores would be idle while all workers wait.

    (Marks for groups of pytest-xdist have no effect with pytest 9.2, which no longer lets it
    append them to the names of tests.)
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        self._groups: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        file = str(nodeid.partition("::")[0])
        if not file.startswith("tests/browser/") or file in ALONE:
            return file
        return self._groups.setdefault(
            file, f"tests/browser/ {len(self._groups) % BROWSER_GROUPS}"
        )

    def _assign_work_unit(self, node: WorkerController) -> None:
        wanted = waits if self.nodes.index(node) % 2 else computes
        scope = next(filter(wanted, self.workqueue), None)
        if scope is not None:
            self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


def waits(scope: str) -> bool:
    """Whether a file mostly waits for sound and processes."""
    real_time = scope.startswith(("tests/integration/", "tests/system/"))
    return real_time and not scope.startswith(COMPUTING)


def computes(scope: str) -> bool:
    """Whether a file mostly computes. (Files that run last are neither.)"""
    return scope not in ALONE and not waits(scope)
