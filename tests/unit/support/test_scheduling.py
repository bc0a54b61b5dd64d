"""The order in which files of tests are given to the workers."""

from __future__ import annotations

from collections import OrderedDict

from tests.conftest import LONGEST, FileScheduling
from tests.support.environment import PROJECT


class Worker:
    """Keeps which tests it was sent, by number."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        """Take them."""
        self.sent += numbers


def test_the_longest_files_come_first_and_the_others_in_their_order() -> None:
    files = ["tests/unit/test_a.py", LONGEST[3], "tests/unit/test_b.py", LONGEST[0]]
    tests = [f"{file}::test_{number}" for file in files for number in (1, 2)]
    worker = Worker()
    scheduling = object.__new__(FileScheduling)
    scheduling.workqueue = OrderedDict(
        (file, {test: False for test in tests if test.startswith(file)}) for file in files
    )
    scheduling.assigned_work = {worker: {}}
    scheduling.registered_collections = {worker: tests}
    for _ in files:
        scheduling._assign_work_unit(worker)
    assert [tests[number].partition("::")[0] for number in worker.sent[::2]] == [
        LONGEST[0], LONGEST[3], "tests/unit/test_a.py", "tests/unit/test_b.py",
    ]  # fmt: skip


def test_every_file_that_comes_first_is_there() -> None:
    assert [file for file in LONGEST if not (PROJECT / file).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)
