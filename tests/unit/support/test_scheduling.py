"""The order in which files of tests are given to the workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.support.environment import PROJECT
from tests.support.summary import ALONE, USUAL_SECONDS, SlowestFirst


def ordered(files: list[str], known: dict[str, float]) -> list[str]:
    """The files as they come in a run."""
    config: Any = SimpleNamespace(workerinput={"durations": known})
    items: Any = [SimpleNamespace(nodeid=f"{file}::test_x") for file in files]
    SlowestFirst(config).pytest_collection_modifyitems(items)
    return [item.nodeid.partition("::")[0] for item in items]


def test_what_takes_long_comes_first_in_a_fresh_copy_too() -> None:
    slow, slower = sorted(USUAL_SECONDS, key=USUAL_SECONDS.__getitem__)[-2:]
    files = ["tests/unit/test_a.py", ALONE[0], slow, "tests/system/test_b.py", slower]
    assert ordered(files, {}) == [
        slower, slow, "tests/system/test_b.py", "tests/unit/test_a.py", ALONE[0],
    ]  # fmt: skip


def test_what_the_last_run_took_is_known_better() -> None:
    slow = min(USUAL_SECONDS, key=USUAL_SECONDS.__getitem__)
    files = [slow, "tests/unit/test_a.py"]
    assert ordered(files, {slow: 1.0, "tests/unit/test_a.py": 2.0}) == files[::-1]


def test_every_file_that_usually_takes_long_is_there() -> None:
    assert [file for file in USUAL_SECONDS if not (PROJECT / file).is_file()] == []
