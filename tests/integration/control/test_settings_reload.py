"""SIGHUP, as `systemctl reload` sends it, changes the settings of a running server."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.alert_receiver import AlertReceiver
from tests.support.offline_server import RATE, count, place, write
from tests.support.server import PROJECT, Running, ended, server, until
from tests.support.service_manager import Manager

START = """
limiter_lookahead = 0
limiter_ceiling = 0
buffer_size = 256
http = false
"""


class Reloadable:
    """A server with a configuration file and a service manager; the file begins with `START`."""

    def __init__(self, folder: Path, running: Running, manager: Manager) -> None:
        self.config = folder / "config.toml"
        self.running, self.manager = running, manager
        self.client = running.client

    def reload(self, text: str = "") -> str:
        """Append to the file, send SIGHUP, and return the status line at the end of the reload."""
        with self.config.open("a", encoding="utf-8") as file:
            file.write(text)
        self.manager.heard()
        begin = len(self.manager.all)
        self.running.process.send_signal(signal.SIGHUP)

        def new() -> str:
            self.manager.heard()
            return "\n\n".join(self.manager.all[begin:])

        until(lambda: "READY=1" in new(), what="the end of the reload")
        found = re.search(r"RELOADING=1\nMONOTONIC_USEC=(\d+)\n\nREADY=1\nSTATUS=(.*)", new())
        assert found, new()
        return found.group(2)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloadable]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "config.toml").write_text(START)
    options = ["--driver", "null", "--config", str(folder / "config.toml")]
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(contextlib.closing(Manager(str(folder / "notify"))))
        env = {"NOTIFY_SOCKET": str(folder / "notify")}
        # Without the terminal of the person who runs the tests, like a service. The flag --no-http
        # of `launched` would take precedence over the file, so the page starts here.
        running = stack.enter_context(
            server(folder, *options, "--http", env=env, own_session=True)
        )
        yield Reloadable(folder, running, manager)


def test_changed_settings_apply_while_a_track_plays_on_to_the_sample(
    served: Reloadable, tmp_path: Path
) -> None:
    client = served.client
    client.request("/deck/A/load", str(write(tmp_path / "numbers.wav", count(60))), answer="/done")
    client.request("/record/start", str(tmp_path / "mix.wav"), "wav24", answer="/done")
    client.send("/deck/A/play", 0.0, 1)
    until(lambda: client.status()["deck.A.state"] == "playing")
    until(lambda: client.status()["standby"] != "none")
    served.running.page()
    web = served.running.child_named("web").pid
    pids = {one.pid for one in served.running.children()}
    before = client.status()
    with AlertReceiver() as alerts:
        served.reload(
            "levels = [1, 0.5, 1, 1]\nlog_level = 'debug'\nhttp_token = 'another-token'\n"
            f"log_file = '{tmp_path / 'night.log'}'\nlog_format = 'json'\nstats_interval = 0.1\n"
            f"meter = 3\nalert_url = ['{alerts.url()}']\nalert_level = 'info'\nread_ahead = 20\n"
        )
        until(lambda: client.status()["deck.B.level"] == 0.5)
        # A new web process serves the same port; the others are those that played before.
        until(lambda: [one.pid for one in served.running.children_named("web")] not in ([], [web]))
        assert pids - {web} <= {one.pid for one in served.running.children()}
        log = tmp_path / "night.log"
        until(lambda: log.exists() and "[STATS]" in log.read_text())
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert any("[STATS]" in line["message"] for line in lines)
        served.reload("bpm = 'fast'\n")
        until(lambda: alerts.received)
        assert json.loads(alerts.received[0].body)["kind"] == "settings"
        until(lambda: client.status()["alerts_sent"] == len(alerts.received))
    client.await_frames(RATE // 2)
    client.request("/record/stop", answer="/done")
    sound = soundfile.read(tmp_path / "mix.wav", dtype="float32")[0][:, 0]
    first = int(np.flatnonzero(sound)[0])
    heard = sound[first:]
    expected = (np.arange(len(heard)) + place(heard[0])) % 8192 + 1
    assert np.array_equal(np.round(heard * 32768), expected), "no frame is missing or repeated"
    after = client.status()
    for name in ("takeovers", "missing_pages", "record_lost", "restarts_control"):
        assert after[name] == before[name], name
    # The log is changed beside control, before or after these lines.
    both = served.running.log() + log.read_text()
    assert "settings: changed" in both and "read_ahead needs a restart" in both


def test_an_invalid_file_changes_nothing_and_the_status_names_the_reason(
    served: Reloadable,
) -> None:
    served.config.write_text(START + "levels = [9, 9, 9, 9]\n")
    before = served.client.status()
    status = served.reload()
    assert status.startswith("settings were not changed: ") and "levels" in status
    assert served.client.status()["deck.A.level"] == before["deck.A.level"]
    served.config.write_text(START)
    assert "voices play" in served.reload()
    until(lambda: served.client.status()["deck.B.level"] == 1.0)


def test_the_page_comes_moves_and_goes(tmp_path: Path) -> None:
    config, log = tmp_path / "config.toml", tmp_path / "server.log"
    config.write_text("http = false\n")
    command = [
        sys.executable, str(PROJECT / "audio_server.py"), "--port", "0", "--driver", "null",
        "--config", str(config),
    ]  # fmt: skip
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True) as process,
    ):
        running = Running(process, log)

        def reload(text: str) -> None:
            config.write_text(text)
            running.client.request("/settings/reload", answer="/settings/reload.reply")

        def pages() -> list[str]:
            return re.findall(r"page on (\S+)", running.log())

        try:
            reload("http_port = 0\n")
            until(lambda: len(pages()) == 1)
            check_page(pages()[0])
            reload("http_port = 0\nhttp_token = 'another-token'\nhttp_require_token = true\n")
            until(lambda: status_of(pages()[0]) == 401)
            assert len(pages()) == 1, "the port is the same"
            with socket.create_server(("127.0.0.1", 0)) as found:
                port = found.getsockname()[1]
            reload(f"http_port = {port}\n")
            until(lambda: len(pages()) == 2)
            assert pages()[1].endswith(f":{port}")
            check_page(pages()[1])
            reload("http = false\n")
            until(lambda: not running.children_named("web"))
            running.client.synchronize()
            assert not running.children_named("web")
            assert "has died" not in running.log()
        finally:
            running.client.close()
            process.terminate()
        assert process.wait(60) == 0


def status_of(page: str) -> int:
    """The status of a page; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(page, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def check_page(page: str) -> None:
    assert status_of(page) == 200


def test_the_next_control_process_continues_with_the_changed_settings(served: Reloadable) -> None:
    client = served.client
    served.reload("record_reserve = 77\nlevels = [1, 1, 0.25, 1]\n")
    until(lambda: client.status()["deck.C.level"] == 0.25)
    client.await_noted()
    control = served.running.child_named("control")
    control.kill()
    until(lambda: ended(control))
    assert client.status()["deck.C.level"] == 0.25
    # Nothing is left to change, and an earlier value counts as a change.
    assert client.request("/settings/reload", answer="/settings/reload.reply") == ["", ""]
    served.config.write_text(START)
    reply = client.request("/settings/reload", answer="/settings/reload.reply")
    assert reply == ["record_reserve levels", ""]


def test_from_a_terminal_a_hangup_ends_the_server_in_order(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [
        sys.executable, str(PROJECT / "audio_server.py"), "--port", "0", "--no-http",
        "--driver", "null",
    ]  # fmt: skip
    log = (tmp_path / "log").open("w+b")
    # `setsid --ctty` makes the terminal that of the program, as a terminal window does. Under
    # nohup, the tests ignore the signal, and so would the program.
    window = ["env", "--default-signal=HUP", "setsid", "--ctty", "--wait"]
    with subprocess.Popen(
        [*window, *command], stdin=theirs, stdout=log, stderr=log
    ) as process:
        os.close(theirs)
        until(lambda: b"ready: " in (tmp_path / "log").read_bytes())
        os.close(ours)  # the window is closed
        assert process.wait(60) == 0
    log.close()
    assert b"Traceback" not in (tmp_path / "log").read_bytes()
