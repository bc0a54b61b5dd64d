"""Events of a real server: alerts arrive, and the log survives restarts."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import psutil

from tests.support.alert_receiver import AlertReceiver
from tests.support.osc_client import OscClient
from tests.support.playing_server import await_standby, engines
from tests.support.server import Running, free_port, server, until

NULL = ("--driver", "null", "--stats-interval", "0", "--cache-mb", "64")
SECRET = "tr0ub4dor"


def kinds(it: Running) -> list[str]:
    """Return the kinds of the server's events."""
    values: list[Any] = it.client.request("/events", 100, answer="/events.reply")
    return values[3::4]


def test_an_engine_is_killed_and_its_alert_arrives(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path / "state"), "no_proxy": "*"}
    port = str(free_port())
    with AlertReceiver(statuses=[503]) as receiver:
        url = receiver.url("/topic", user=f"dj:{SECRET}")
        options = (*NULL, "--port", port, "--alert-format", "text")
        alerted = {**env, "CROWDSTREAM_ALERT_URL": url}
        with server(tmp_path, *options, env=alerted) as it:
            await_standby(it)
            listener = OscClient(it.port)
            listener.request("/notify", 1, answer="/done")
            engines(it)[0].kill()
            _time, level, kind, text = listener.receive_until("/event")
            listener.close()
            assert (level, kind) == ("error", "engine") and "died" in text
            # The first answer is 503, so the alert is posted once more.
            until(lambda: it.client.status()["alerts_sent"] == 1)
            assert [one.body.decode() for one in receiver.received] == [text, text]
            assert receiver.received[0].headers["Priority"] == "5"
            assert it.client.status()["alerts_waiting"] == 0
            assert kinds(it) == ["started", "engine"]
            assert "answers with status 503; trying again" in it.log()
            assert SECRET not in it.log()
    with server(tmp_path, *NULL, "--port", port, env=env) as it:
        until(lambda: kinds(it) == ["started", "engine", "stopped", "started"])
    lines = (tmp_path / "state" / "crowdstream" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == [
        "started", "engine", "stopped", "started", "stopped",
    ]  # fmt: skip


def test_events_survive_control_and_no_alert_delays_the_server(tmp_path: Path) -> None:
    with AlertReceiver() as receiver:
        receiver.hang.set()
        file = tmp_path / "state" / "crowdstream" / "events.jsonl"
        env = {"XDG_STATE_HOME": str(tmp_path / "state"), "no_proxy": "*"}
        options = (*NULL, "--standby", "off", "--alert-url", receiver.url())
        with server(tmp_path, *options, env=env) as it:
            it.child_named("loader").kill()
            until(lambda: "loader" in kinds(it))
            until(lambda: len(receiver.received) == 1)
            until(lambda: '"loader"' in file.read_text())
            it.client.await_noted()
            it.child_named("control").kill()
            until(lambda: kinds(it) == ["started", "loader", "control"])
            assert it.client.status()["alerts_waiting"] == 1
            it.client.synchronize()
            it.process.terminate()
            assert it.process.wait(60.0) == 0, "the hanging post does not keep the server"


def test_the_last_alert_of_a_server_whose_engines_keep_dying_arrives(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path / "state"), "no_proxy": "*"}
    with AlertReceiver() as receiver:
        options = (*NULL, "--standby", "off", "--alert-url", receiver.url())
        with server(tmp_path, *options, env=env) as it:

            def over() -> bool:
                with contextlib.suppress(psutil.Error):
                    for process in engines(it):
                        process.kill()
                return it.process.poll() is not None

            until(over)
        posted = [json.loads(one.body)["kind"] for one in receiver.received]
    assert "failed" in posted and set(posted) <= {"engine", "failed"}


def test_a_server_whose_state_folder_cannot_be_written_plays(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in place of the folder")
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with server(tmp_path, *NULL, "--standby", "off", env=env) as it:
        until(lambda: it.client.status()["events_unwritten"] == 1)
        assert kinds(it) == ["started"]
        assert it.log().count("can't be written") == 1
        it.client.await_frames(1000)
    assert os.path.isfile(tmp_path / "state")


def test_a_disk_that_is_nearly_full_is_reported_at_the_start(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.toml"
    text = f"record_folder = '{tmp_path / 'sets'}'\n"
    config.write_text(text + "record_reserve = 16777216\n")  # 16 TB
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with server(tmp_path, *NULL, "--config", str(config), env=env) as it:
        until(lambda: "disk_low" in kinds(it))
        until(lambda: "recordings stop at 16777216 MB (--record-reserve)" in it.log())
