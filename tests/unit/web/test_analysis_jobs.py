"""Analysis jobs of the library panel, with a fake process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from starlette.requests import Request

from crowdstream.web.analysis_jobs import MAX_WAITING, AnalysisJobs

Result = TypeVar("Result")


class Process:
    """A fake process: writes `lines` to its output, and exits with `status`."""

    pid = 2**22 + 1  # above the maximum of Linux

    def __init__(self, lines: list[str], status: int, errors: str, endless: bool) -> None:
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        for line in lines:
            self.stdout.feed_data(line.encode() + b"\n")
        self.stderr.feed_data(errors.encode())
        self.returncode: int | None = None
        self._status = status
        self._ended = asyncio.Event()
        self.signals: list[int] = []
        if not endless:
            self.end(status)

    def end(self, status: int) -> None:
        self.returncode = status
        self.stdout.feed_eof()
        self.stderr.feed_eof()
        self._ended.set()

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        self.end(130)

    def kill(self) -> None:
        self.send_signal(9)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class Bench:
    """Analysis jobs over media folders; records the published states and the commands."""

    def __init__(self, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[dict[str, Any]] = []
        self.finished = 0
        self.commands: list[list[str]] = []
        self.made: list[Process] = []
        self.lines = [json.dumps({"tracks": 1, "done": 1, "share": 1.0, "name": "a", "bad": 0})]
        self.status, self.errors, self.endless = 0, "", False
        self.analyst = AnalysisJobs([media], self.shown.append, self._finish, ("analyze",))
        monkeypatch.setattr(asyncio, "create_subprocess_exec", self._start)

    def _finish(self) -> None:
        self.finished += 1

    async def _start(self, *command: str, **_options: Any) -> Process:
        self.commands.append(list(command))
        self.made.append(Process(self.lines, self.status, self.errors, self.endless))
        return self.made[-1]

    async def ask(self, body: Any) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        answer = await self.analyst.handle_request(request)
        return answer.status_code, json.loads(bytes(answer.body))

    async def over(self) -> None:
        while self.analyst._task is not None:
            await asyncio.sleep(0)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    root = tmp_path / "media"
    (root / "Night").mkdir(parents=True)
    for name in ("a.wav", "b.flac", "-x.wav", "notes.txt"):
        (root / name).write_bytes(b"")
    return root


@pytest.fixture
def bench(media: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(media, monkeypatch)


def in_a_loop(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run in a separate thread: this thread may have the event loop of a browser driver."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def test_a_job_whose_file_has_a_name_that_is_not_utf8_can_be_stopped(bench: Bench) -> None:
    bench.endless = True
    bench.lines = [json.dumps({"tracks": 2, "name": "t\udce4nze"})]

    async def work() -> tuple[int, dict[str, Any]]:
        await bench.ask({"path": "0/a.wav"})
        while bench.analyst.state.get("name") is None:
            await asyncio.sleep(0)
        answer = await bench.ask({"path": "0/b.flac"})
        await bench.ask({"stop": 1})
        return answer

    status, state = in_a_loop(work)
    assert status == 202 and state["name"] == "t\udce4nze"


def test_a_file_is_analysed_and_its_progress_is_shown(bench: Bench, media: Path) -> None:
    async def work() -> tuple[int, dict[str, Any]]:
        answer = await bench.ask({"path": "0/a.wav"})
        await bench.over()
        return answer

    status, first = in_a_loop(work)
    assert status == 202 and first["path"] == "" and first["wait"] == 1
    assert bench.commands == [["analyze", "--", str(media / "a.wav")]]
    assert {"running": 1, "path": "0/a.wav", "wait": 0} in bench.shown
    assert any(one.get("share") == 1.0 and one["running"] for one in bench.shown)
    last = bench.shown[-1]
    assert (last["running"], last["last"], last["done"], bench.finished) == (0, "0/a.wav", 1, 1)


def test_jobs_run_one_at_a_time_without_duplicates(bench: Bench, media: Path) -> None:
    async def work() -> None:
        for path in ("0/a.wav", "0/b.flac", "0/Night", "0/b.flac", "0/-x.wav"):
            assert (await bench.ask({"path": path}))[0] == 202
        await bench.over()

    in_a_loop(work)
    assert [command[-1] for command in bench.commands] == [
        str(media / name) for name in ("a.wav", "b.flac", "Night", "-x.wav")
    ]  # fmt: skip
    assert all(command[-2] == "--" for command in bench.commands), "a name is no option"
    assert bench.finished == 4


@pytest.mark.parametrize("body, status", [
    ({"path": "0/notes.txt"}, 404), ({"path": "0/none.wav"}, 404), ({"path": "1/a.wav"}, 404),
    ({"path": "0/.."}, 404), ({"path": "/etc/passwd"}, 404), ({"path": 5}, 400),
    ({}, 400), ([], 400), (b"", 400), (b"{", 400), (b"[" * 2000, 400), ({"stop": "yes"}, 400),
])  # fmt: skip
def test_paths_that_are_not_tracks_are_refused(
    bench: Bench, body: Any, status: int
) -> None:
    found, answer = in_a_loop(lambda: bench.ask(body))
    assert found == status and answer["error"] and not bench.commands


def test_a_link_out_of_the_media_folders_is_refused(
    bench: Bench, media: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.wav").write_bytes(b"")
    (media / "link.wav").symlink_to(tmp_path / "secret.wav")
    assert in_a_loop(lambda: bench.ask({"path": "0/link.wav"}))[0] == 404


def test_a_full_queue_refuses_further_jobs(bench: Bench, media: Path) -> None:
    bench.endless = True
    for number in range(MAX_WAITING + 2):
        (media / f"{number}.wav").write_bytes(b"")

    async def work() -> tuple[list[int], int]:
        statuses = [(await bench.ask({"path": f"0/{number}.wav"}))[0]
                    for number in range(MAX_WAITING + 2)]  # fmt: skip
        await bench.ask({"stop": 1})
        return statuses, len(bench.commands)

    statuses, started = in_a_loop(work)
    assert statuses[:MAX_WAITING] == [202] * MAX_WAITING and statuses[-1] == 503
    assert started <= 1


def test_stop_ends_the_job_and_clears_the_queue(bench: Bench) -> None:
    bench.endless = True

    async def work() -> dict[str, Any]:
        await bench.ask({"path": "0/a.wav"})
        await bench.ask({"path": "0/b.flac"})
        while not bench.made:
            await asyncio.sleep(0)
        return (await bench.ask({"stop": 1}))[1]

    state = in_a_loop(work)
    assert len(bench.commands) == 1 and bench.made[0].signals == [15]
    assert state["running"] == 0 and state["wait"] == 0


def test_a_failed_analysis_is_reported(bench: Bench) -> None:
    bench.status, bench.lines = 1, []
    bench.errors = "crowdstream: the library is locked\n"

    async def work() -> None:
        await bench.ask({"path": "0/a.wav"})
        await bench.over()

    in_a_loop(work)
    assert bench.shown[-1]["bad"] == 1 and bench.shown[-1]["reason"] == "the library is locked"
