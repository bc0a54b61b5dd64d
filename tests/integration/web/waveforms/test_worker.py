"""The waveform process: messages, restarts, and files that make it crash or hang."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from crowdstream.web.waveforms.worker import Worker
from tests.support.environment import child_environment
from tests.support.server import WAIT_SECONDS

RATE = 44100


def long_wave(path: Path, hours: float = 6.0) -> Path:
    """A long silent file, sparse on the disk."""
    size = int(hours * 3600 * RATE) * 2
    head = b"RIFF" + (size + 36).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\1\0"
    head += RATE.to_bytes(4, "little") + (RATE * 2).to_bytes(4, "little") + b"\2\0\x10\0data"
    with path.open("wb") as file:
        file.write(head + size.to_bytes(4, "little"))
        file.truncate(44 + size)
    return path


class Heard:
    """A worker and its messages."""

    def __init__(self, cache: Path, hang: float = 20.0) -> None:
        self.said: list[dict[str, Any]] = []
        environ = child_environment(XDG_CACHE_HOME=str(cache))
        self.worker = Worker(self.said.append, environ, hang)

    async def until(self, test: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first message, past or future, that passes the test; earlier ones are dropped."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for message in self.said:
                if test(message):
                    del self.said[: self.said.index(message) + 1]
                    return message
            await asyncio.sleep(0.01)
        raise AssertionError(f"not said; but {self.said[-5:]}")


def run(
    cache: Path, story: Callable[[Heard], Coroutine[Any, Any, None]], hang: float = 20.0
) -> None:
    """Run a scene with a worker, which is always stopped at the end."""

    async def whole() -> None:
        heard = Heard(cache, hang)
        try:
            async with asyncio.timeout(2 * WAIT_SECONDS):
                await story(heard)
        finally:
            await heard.worker.close()

    asyncio.run(whole())


def test_previews_come_before_exact_parts(tmp_path: Path) -> None:
    paths = [str(long_wave(tmp_path / f"{n}.wav", 0.12)) for n in range(3)]

    async def story(heard: Heard) -> None:
        heard.worker.want(paths, [])
        seen: dict[str, list[dict[str, Any]]] = {path: [] for path in paths}
        while not all(one and one[-1]["ready"] == 1 for one in seen.values()):
            told = await heard.until(lambda said: "wave" in said)
            seen[told["wave"]].append(told)
            if told["ready"] > 0:  # nothing is exact before all previews are done
                assert all(any(one["rough"] > 0 for one in some) for some in seen.values())
        for some in seen.values():
            readys = [one["ready"] for one in some]
            assert readys == sorted(readys)
            assert any(0 < ready < 1 for ready in readys)

    run(tmp_path, story)


def test_a_file_that_crashes_the_process_is_skipped_until_it_changes(
    tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    bad, good = long_wave(tmp_path / "bad.wav"), write_sound(tmp_path / "good.wav")

    async def story(heard: Heard) -> None:
        worker = heard.worker
        worker.want([str(bad)], [])
        await heard.until(lambda said: said.get("ready", 0) > 0)
        first = worker.pid
        os.kill(first, signal.SIGSEGV)
        failed = await heard.until(lambda said: "failed" in said)
        assert failed["failed"] == str(bad)
        assert "crashed" in failed["reason"]
        worker.want([str(bad), str(good)], [])
        done = await heard.until(lambda said: said.get("ready") == 1)
        assert done["wave"] == str(good)
        assert worker.pid != first
        await heard.until(lambda said: said.get("idle"))
        os.utime(bad, ns=(1, 1))
        worker.want([str(bad), str(good)], [])
        await heard.until(lambda said: said.get("wave") == str(bad))

    run(tmp_path, story)


def test_a_file_that_hangs_the_process_is_skipped(tmp_path: Path) -> None:
    bad = long_wave(tmp_path / "bad.wav")

    async def story(heard: Heard) -> None:
        heard.worker.want([str(bad)], [])
        await heard.until(lambda said: said.get("ready", 0) > 0)
        first = heard.worker.pid
        os.kill(first, signal.SIGSTOP)
        failed = await heard.until(lambda said: "failed" in said)
        assert "made no progress" in failed["reason"]
        await heard.until(lambda said: "up" in said)
        assert heard.worker.pid != first

    run(tmp_path, story, hang=1.0)


def test_waiting_for_the_cpu_does_not_count_as_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    waits = True

    def activity(pid: int) -> tuple[float, bool]:
        looks.append(pid)
        return 0.0, waits

    monkeypatch.setattr("crowdstream.web.waveforms.worker.activity", activity)
    path = str(long_wave(tmp_path / "long.wav"))

    async def story(heard: Heard) -> None:
        nonlocal waits
        heard.worker.want([path], [])
        await heard.until(lambda said: said.get("ready", 0) > 0)
        os.kill(heard.worker.pid, signal.SIGSTOP)
        looks.clear()
        while len(looks) < 12:  # three times the limit
            await asyncio.sleep(0.01)
        assert not any("failed" in said for said in heard.said)
        waits = False
        await heard.until(lambda said: "failed" in said)

    run(tmp_path, story, hang=1.0)


def test_the_first_kill_from_outside_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = long_wave(tmp_path / "a.wav", 0.4)

    async def story(heard: Heard) -> None:
        heard.worker.want([str(path)], [])
        await heard.until(lambda said: said.get("ready", 0) > 0)
        os.kill(heard.worker.pid, signal.SIGKILL)
        await heard.until(lambda said: "up" in said)
        done = await heard.until(lambda said: "failed" in said or said.get("ready") == 1)
        assert done.get("ready") == 1
        await heard.worker.close()
        assert [one.suffix for one in (tmp_path / "crowdstream" / "waves").iterdir()] == [".wave"]

    run(tmp_path, story)


def test_the_process_ends_some_time_after_the_last_page(
    tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    path, other = (str(write_sound(tmp_path / name)) for name in ("a.wav", "b.wav"))

    async def story(heard: Heard) -> None:
        worker = heard.worker
        worker.want([path], [])
        await heard.until(lambda said: said.get("idle"))
        pid = worker.pid
        worker.leave(0.01)
        worker.want([path], [])  # a page has come back
        await asyncio.sleep(0.02)  # a loop's timers fire in order: the end would have fired by now
        worker.want([other], [])
        await heard.until(lambda said: said.get("wave") == other and said["ready"] == 1)
        assert worker.pid == pid
        worker.leave(0.05)
        while worker.pid:
            await asyncio.sleep(0.01)
        assert not os.path.exists(f"/proc/{pid}")
        worker.want([path], [])
        await heard.until(lambda said: said.get("ready") == 1)

    run(tmp_path, story)


@pytest.fixture
def alone(tmp_path: Path) -> Any:
    """The waveform process without a web process."""
    environ = child_environment(XDG_CACHE_HOME=str(tmp_path), CROWDSTREAM_GIVE_WAY=None)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "crowdstream.web.waveforms.main"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, bufsize=0,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def test_the_process_has_low_priority_and_ends_with_its_pipe(alone: Any, tmp_path: Path) -> None:
    assert "up" in json.loads(alone.stdout.readline())
    assert os.getpriority(os.PRIO_PROCESS, alone.pid) == 19
    assert os.sched_getscheduler(alone.pid) == os.SCHED_IDLE
    want = {"want": [str(long_wave(tmp_path / "a.wav"))], "roots": []}
    alone.stdin.write(b"nonsense\n[]\n{}\n" + json.dumps(want).encode() + b"\n")
    while '"wave"' not in alone.stdout.readline().decode():
        pass
    alone.stdin.close()
    assert alone.wait(WAIT_SECONDS) == 0
    assert list((tmp_path / "crowdstream" / "waves").iterdir()) == []


def test_the_process_needs_no_compiled_kernels(alone: Any) -> None:
    assert "up" in json.loads(alone.stdout.readline())
    loaded = Path(f"/proc/{alone.pid}/maps").read_text()
    assert "llvmlite" not in loaded
    assert "/scipy/" not in loaded
