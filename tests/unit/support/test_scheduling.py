"""The order in which files of tests are given to the workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.support.environment import PROJECT
from tests.support.scheduling import BROWSER_GROUPS, COMPUTING, FileScheduling, computes, waits
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


class Worker:
    """A worker that only records the numbers of the tests that it is sent."""

    shutting_down = False

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.sent: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def distributed(files: list[str], tests: int = 3) -> list[list[str]]:
    """The files that each of two workers runs, in this order, if all tests take the same time."""
    config: Any = SimpleNamespace(
        option=SimpleNamespace(loadscopereorder=False), getvalue=lambda _name: ["popen"] * 2,
    )  # fmt: skip
    log: Any = SimpleNamespace(loadscopesched=lambda *_words: None)
    scheduling = FileScheduling(config, log)
    names = [f"{file}::test_{number}" for file in files for number in range(tests)]
    workers: list[Any] = [Worker(0), Worker(1)]
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, names)
    scheduling.schedule()
    done = [0, 0]
    while any(at < len(worker.sent) for at, worker in zip(done, workers, strict=True)):
        for number, worker in enumerate(workers):
            if done[number] < len(worker.sent):
                done[number] += 1
                scheduling.mark_test_complete(worker, worker.sent[done[number] - 1])
    return [
        list(dict.fromkeys(names[index].partition("::")[0] for index in worker.sent))
        for worker in workers
    ]


def test_half_of_the_workers_compute_while_the_others_wait() -> None:
    waiting = [f"tests/system/test_{name}.py" for name in "abc"]
    computing = [f"tests/unit/test_{name}.py" for name in "abc"]
    assert distributed([*waiting, *computing]) == [computing, waiting]


def test_no_worker_is_idle_while_there_is_work_of_the_other_kind() -> None:
    computing = [f"tests/unit/test_{name}.py" for name in "abcd"]
    first, second = distributed(computing)
    assert sorted([*first, *second]) == computing and first and second


def test_what_runs_alone_comes_after_everything_else() -> None:
    waiting = [f"tests/system/test_{name}.py" for name in "abcd"]
    runs = distributed([*waiting, ALONE[0]])
    assert [run[-1] for run in runs].count(ALONE[0]) == 1
    assert all(ALONE[0] not in run[:-1] for run in runs)


def test_files_of_the_page_come_in_groups_that_share_a_browser() -> None:
    files = [f"tests/browser/test_{number}.py" for number in range(2 * BROWSER_GROUPS)]
    runs = distributed(["tests/unit/test_a.py", *files])
    assert sorted(file for run in runs for file in run if "browser" in file) == files
    for group in range(BROWSER_GROUPS):
        pair = files[group::BROWSER_GROUPS]
        assert any(run[at : at + 2] == pair for run in runs for at in range(len(run)))


def test_every_file_that_computes_is_there() -> None:
    assert [name for name in COMPUTING if not (PROJECT / name).exists()] == []
    assert all(computes(name) and not waits(name) for name in COMPUTING)
