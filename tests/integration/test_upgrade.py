"""A running server is upgraded to a copy of the package, and to broken ones, while it plays."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from crowdstream.engine import main as engine_main
from tests.support.offline_server import RATE
from tests.support.osc_client import OscClient
from tests.support.resizing import PLAIN, await_standby, counts_on, play
from tests.support.server import Running, SharedServer, until
from tests.support.upgrades import (
    NEXT,
    Patch,
    begin,
    engine_fault,
    finish,
    installation,
    roots,
    upgrade,
)

NULL = (*PLAIN, "--driver", "null", "--buffer-size", "256", "--http")
TIMING = ("engine/main.py", f"TIMING_SECONDS = {engine_main.TIMING_SECONDS}", "TIMING_SECONDS = 0")
"""Keeps an engine from averaging the time of a clock that is exact anyway."""
OLDER = "0.0.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("versions")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[SharedServer]:
    with SharedServer(folder, *NULL) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer, tmp_path: Path) -> Running:
    """A server whose deck A plays frames that count."""
    it = shared.get()
    play(it, tmp_path)
    await_standby(it)
    return it


def versions(it: Running) -> set[str]:
    """The folders of all processes, once none is left that is about to end."""
    found: set[str] = set()

    def settled() -> bool:
        nonlocal found
        before, found = found, roots(it)
        return before == found and len(it.children_named("engine")) == 2

    until(settled)
    return found


def events(it: Running) -> list[tuple[Any, ...]]:
    """Level, kind and text of the latest events."""
    values = it.client.request("/events", 100, answer="/events.reply")[1:]
    return [tuple(values[at + 1 : at + 4]) for at in range(0, len(values), 4)]


def test_an_upgrade_loses_no_frame_and_no_state(
    running: Running, tmp_path: Path, folder: Path
) -> None:
    # In the module's folder: this test's own is removed, and the server needs what it runs.
    new = installation(folder / "new", patches=[TIMING])
    client, listener = running.client, OscClient(running.port)
    listener.request("/notify", 1, answer="/done")
    page = running.page()
    client.send("/deck/B/level", 0.25)
    client.send("/deck/B/fx/insert", 2, "echo")
    client.bundle(time.time() + 3600, ("/deck/C/level", 0.5))
    client.request("/record/start", str(tmp_path / "mix.wav"), answer="/done")
    until(lambda: client.status()["deck.B.level"] == 0.25)
    before = client.status()
    old = roots(running)
    process = begin(running, new)
    while process.poll() is None:  # replies work all the time
        assert client.status()["deck.A.state"] == "playing"
    status, output = finish(process)
    assert status == 0, output
    assert running.client.request("/version", answer="/version.reply")[1:3] == [9, 0]
    client.await_frames(RATE // 4)
    client.request("/record/stop", answer="/done")
    until(lambda: client.status()["recording"] == 0)
    assert versions(running) == {str(new)} != old
    after = client.status()
    for name in ("deck.B.level", "deck.B.fx", "waiting", "takeovers", "failed", "guarded",
                 "missing_pages", "restarts_control", "record_lost", "underruns_engine",
                 "underruns_resized"):  # fmt: skip
        assert after[name] == before[name], name
    samples, _rate = soundfile.read(tmp_path / "mix.wav", always_2d=True)
    assert counts_on(samples), "the mix continues at the very next frame"
    assert running.page() == page and "page on" in running.log()
    kinds = [event[:2] for event in events(running)]
    assert ("info", "upgraded") in kinds
    assert not {"loader", "control", "web", "engine"} & {kind for _level, kind in kinds}
    assert listener.receive_until("/engine")[0] == "upgraded"
    listener.close()
    # The processes of the new version are restarted as those of the old one were.
    takeovers = after["takeovers"]
    running.children_named("engine")[0].kill()
    until(lambda: client.status()["takeovers"] == takeovers + 1)
    running.client.await_noted()
    running.child_named("control").kill()
    until(lambda: client.status()["restarts_control"] == before["restarts_control"] + 1)
    assert versions(running) == {str(new)}
    assert client.status()["deck.A.state"] == "playing"


BROKEN: dict[str, tuple[Patch, str]] = {
    "engine exits": (engine_fault("os._exit(3)"), "its engine process has died"),
    "engine hangs": (
        engine_fault("os.kill(os.getpid(), signal.SIGSTOP)"), "its engine process has died",
    ),
    "frames stand still": (
        engine_fault(
            "setattr(self._callback, '_kernels', self._callback._kernels._replace("
            "render_at=lambda *_: None))"
        ),
        "no frame was rendered for 2 s",
    ),
    "control exits": (
        (
            "control/server.py", "        packet = self.core.handle_packet\n",
            "        packet = self.core.handle_packet\n        import threading\n"
            "        threading.Timer(5.0, lambda: os._exit(3)).start()\n",
        ),
        "its control process has died (status 3)",
    ),
    "control can't restore": (
        ("control/state/snapshotter.py", 'values["core"]', 'values["Core"]'),
        "its control process has died",
    ),
    "loader exits": (
        (
            "loader/main.py", "    def _trim_heap(self) -> None:\n",
            "    def _trim_heap(self) -> None:\n        import os\n        os._exit(4)\n",
        ),
        "its loader process has died",
    ),
    "web exits": (
        (
            "web/main.py", '    try:\n        settings = json.loads(first_line())["settings"]\n',
            '    try:\n        os._exit(5)\n        settings = {}\n',
        ),
        "its web process has died",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_version_is_replaced_by_the_previous_one(
    running: Running, tmp_path: Path, fault: str
) -> None:
    patch, reason = BROKEN[fault]
    broken = installation(tmp_path / "broken", patches=[patch, TIMING])
    client = running.client
    client.send("/deck/B/level", 0.75)
    client.await_noted()
    old, restarts = versions(running), client.status()["restarts_control"]
    status, output = upgrade(running, broken, trial=60.0)
    assert status == 1 and reason in output and "plays on" in output, output
    assert str(broken) not in roots(running), "its folder may be deleted now"
    assert versions(running) == old
    after = client.status()
    assert after["deck.A.state"] == "playing" and after["deck.B.level"] == 0.75
    assert (after["guarded"], after["missing_pages"]) == (0, 0)
    assert after["restarts_control"] == restarts, "control's death was the other version's"
    client.await_frames(RATE // 10)
    failed = [text for _level, kind, text in events(running) if kind == "upgrade_failed"]
    assert reason in failed[-1] and NEXT in failed[-1]
    until(lambda: len({one.pid for one in running.children_named("engine")}) == 2)
    assert versions(running) == old


REFUSED: dict[str, tuple[Patch, str]] = {
    "raises at import": (
        ("loader/main.py", "from __future__ import annotations\n",
         "from __future__ import annotations\nraise RuntimeError('unfinished')\n"),
        "version 9.0.0 does not start: crowdstream.loader.main: RuntimeError: unfinished",
    ),
    "ends at import": (
        ("web/main.py", "from __future__ import annotations\n",
         "from __future__ import annotations\nraise SystemExit(0)\n"),
        "version 9.0.0 does not start: crowdstream.web.main: SystemExit: 0",
    ),
    "syntax": (
        ("desk/layout.py", "VERSION =", "VERSION ==="), "does not start: SyntaxError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_a_version_that_does_not_start_is_refused(
    running: Running, tmp_path: Path, fault: str
) -> None:
    patch, reason = REFUSED[fault]
    before = {one.pid for one in running.children()}
    status, output = upgrade(running, installation(tmp_path / "new", patches=[patch]))
    assert status == 2 and reason in output, output
    assert len(output.splitlines()) == 1
    assert {one.pid for one in running.children()} == before


def test_an_older_version_is_refused_unless_allowed(running: Running, tmp_path: Path) -> None:
    older = installation(tmp_path / "older", OLDER, [TIMING])
    status, output = upgrade(running, older)
    assert status == 2 and "0.0.1 is older than" in output and "--allow-older" in output
    status, output = upgrade(running, older, "--allow-older", "--check")
    assert status == 0 and "version 0.0.1 can replace" in output
    assert str(older) not in roots(running)


def test_a_second_upgrade_is_refused(running: Running, tmp_path: Path) -> None:
    before = versions(running)
    one, other = (
        installation(tmp_path / name, patches=[TIMING, engine_fault("os._exit(1)")])
        for name in ("one", "other")
    )
    first = begin(running, one, trial=60.0)
    until(lambda: str(one) in roots(running))
    status, output = upgrade(running, other)
    assert status == 1 and f"an upgrade to version {NEXT} in {one} is in progress" in output
    assert finish(first)[0] == 1
    assert versions(running) == before


def test_the_upgrade_continues_without_the_program_that_requested_it(
    running: Running, folder: Path
) -> None:
    new = installation(folder / "later", "9.0.1", [TIMING])
    process = begin(running, new)
    until(lambda: str(new) in roots(running))
    process.send_signal(signal.SIGKILL)
    finish(process)
    until(lambda: any(kind == "upgraded" and "9.0.1" in text for _, kind, text in events(running)))
    assert versions(running) == {str(new)}


ADDED_FIELD = (
    "desk/dtypes.py", '    ("fade_ns", "i8"),', '    ("fade_ns", "i8"),\n    ("new_field", "i8"),',
)


def test_another_layout_that_does_not_start_returns_to_the_previous_version(
    tmp_path: Path,
) -> None:
    fault = (
        "control/startup.py", "        remove_stale_files()\n",
        "        remove_stale_files()\n        raise OSError('broken')\n",
    )
    new = installation(tmp_path / "new", patches=[ADDED_FIELD, fault])
    with SharedServer(tmp_path, *NULL) as made:
        it = made.get()
        await_standby(it)
        before = roots(it)
        status, output = upgrade(it, new, "--now")
        assert status == 1 and "its control process has died" in output, output
        assert versions(it) == before
        play(it, tmp_path)
        failed = [text for _level, kind, text in events(it) if kind == "upgrade_failed"]
        assert "its control process has died" in failed[-1]


def test_another_layout_waits_until_nothing_is_audible(tmp_path: Path) -> None:
    new = installation(tmp_path / "new", patches=[ADDED_FIELD, TIMING])
    with SharedServer(tmp_path, *NULL) as made:
        it = made.get()
        play(it, tmp_path)
        await_standby(it)
        pid = it.pid
        process = begin(it, new)
        assert process.stdout
        line = ""
        while "nothing is audible" not in line:
            line = process.stdout.readline()
            assert line, "it has ended"
        it.client.await_frames(2 * RATE)
        assert str(new) not in roots(it) and it.client.status()["deck.A.state"] == "playing"
        it.client.send("/deck/A/stop")
        status, output = finish(process)
        assert status == 0, output
        assert it.pid == pid and versions(it) == {str(new)}
        assert it.client.request("/version", answer="/version.reply")[1] == 9, "on the same port"
