"""Broadcasts as seen by control: commands, reports, the title, successors, settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdstream.control.peers.broadcasts import MAX_BROADCASTS, broadcast_process
from crowdstream.control.processes.supervised import MIN_RESTART_DELAY
from crowdstream.control.publish.state_view import StateView
from crowdstream.desk.constants import TAP_MASTER
from crowdstream.desk.taps import BROADCAST, request_tap
from crowdstream.settings import SettingError
from tests.support.fake_process import FakeProcess
from tests.support.offline_server import Rig, level, write
from tests.unit.control.state.test_snapshotter import RestartableRig

ICECAST = "icecast://source:geheim@radio/live.mp3"
LIVE = {"event": "state", "id": 1, "state": "live", "reason": "", "connections": 1, "sent": 5,
        "dropped": 0.5}  # fmt: skip


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as rig:
        rig.send("/notify", 1)
        yield rig


def sent(rig: Rig) -> list[dict[str, Any]]:
    """Collect what is sent to the process from now on."""
    messages: list[dict[str, Any]] = []
    rig.core.broadcasts.send = messages.append
    return messages


def kinds(rig: Rig) -> list[str]:
    return [event.kind for event in rig.core.events.latest()]


def test_commands_start_stop_and_list(rig: Rig) -> None:
    messages = sent(rig)
    rig.send("/broadcast/start", ICECAST, "opus", 96)
    rig.send("/broadcast/start", "snapcast://room")
    assert rig.heard("/done")[-2:] == [("/broadcast/start", 1), ("/broadcast/start", 2)]
    assert messages[0]["do"] == "start" and "geheim" in messages[0]["url"]
    rig.send("/broadcast/list")
    assert rig.heard("/broadcast/list.reply") == [
        (1, "icecast://radio:8000/live.mp3", "opus", "starting", "", 0.0,
         2, "snapcast://room:4953", "pcm", "starting", "", 0.0)
    ]  # fmt: skip
    rig.send("/broadcast/stop", 1)
    rig.send("/broadcast/stop", 1)
    assert "there is no broadcast 1" in rig.fails()[-1]
    rig.send("/broadcast/start", "pipe:/tmp/x")
    assert rig.heard("/done")[-1] == ("/broadcast/start", 1), "numbers are used again"
    rig.send("/broadcast/stop")
    assert [one["id"] for one in messages if one["do"] == "stop"] == [1, 2, 1]
    assert rig.status()["broadcasts"] == 0


def test_bad_targets_are_refused_without_their_password(rig: Rig) -> None:
    for number in range(MAX_BROADCASTS):
        rig.send("/broadcast/start", f"pipe:/tmp/{number}")
    rig.send("/broadcast/start", "pipe:/tmp/more")
    rig.send("/broadcast/start", "pipe:/tmp/1?rate=8000")
    rig.send("/broadcast/start", "http://a:geheim@radio/live")
    rig.send("/broadcast/start", ICECAST, "wav")
    reasons = rig.fails()
    assert f"{MAX_BROADCASTS} broadcasts run already" in reasons[0]
    assert "there is a broadcast to pipe:/tmp/1 already" in reasons[1]
    assert "must begin with" in reasons[2] and "must be one of mp3" in reasons[3]
    assert "geheim" not in str(reasons)


def test_no_view_and_no_change_contains_a_password(rig: Rig) -> None:
    changes: list[Any] = []
    rig.core.changes.listen(lambda *change: changes.append(change))
    rig.send("/broadcast/start", ICECAST)
    rig.seconds(0.1)
    assert changes == [("/broadcast/start", ("icecast://source:***@radio/live.mp3",))]
    rig.send("/clock/at", 1000.0, "/broadcast/start", ICECAST.replace("live", "later"))
    view = str(StateView(rig.core).values())
    assert "live.mp3" in view and "geheim" not in view


def test_folders_are_restricted_as_those_of_recordings(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path)
    with Rig(media_root=(tmp_path / "inside",)) as rig:
        for outside in ("hls:/srv/live", f"pipe:{tmp_path}/inside/link/fifo"):
            rig.send("/broadcast/start", outside)
            assert "outside the media folders" in rig.fails()[-1]
        rig.send("/broadcast/start", f"hls:{tmp_path}/inside/live")
        assert rig.status()["broadcasts"] == 1


def test_an_outage_is_reported_once_and_counted(rig: Rig) -> None:
    rig.send("/broadcast/start", ICECAST)
    broadcasts = rig.core.broadcasts
    for reason in ("refused", "refused", "no route", "refused"):
        broadcasts.handle({**LIVE, "state": "waiting", "reason": reason})
    broadcasts.handle(LIVE)
    broadcasts.handle({**LIVE, "sent": 10})
    broadcasts.handle({**LIVE, "id": 7})
    assert rig.heard("/broadcast") == [(1, "waiting", "refused"), (1, "live", "")]
    assert kinds(rig) == ["broadcast_lost", "broadcast_live"]
    status = rig.status()
    assert (status["broadcasts_live"], status["broadcast_faults"]) == (1, 3)
    assert status["broadcast_dropped_s"] == 0.5
    broadcasts.lost("its process has died")
    assert rig.heard("/broadcast")[-1] == (1, "waiting", "its process has died")


def test_the_process_starts_with_the_first_broadcast_and_is_restarted(rig: Rig) -> None:
    now = 1000.0
    started: list[FakeProcess] = []

    def start() -> FakeProcess:
        started.append(FakeProcess())
        return started[-1]

    supervised = broadcast_process(rig.desk, rig.core.broadcasts, start, lambda: now)
    supervised.tick()
    assert started == [] and supervised.due() == float("inf")
    rig.send("/broadcast/start", ICECAST)
    supervised.tick()
    assert [one["do"] for one in started[0].sent] == ["authorities", "title", "all"]
    assert started[0].sent[2]["broadcasts"][0]["id"] == 1
    started[0].messages = [LIVE]
    supervised.tick()
    request_tap(rig.desk, TAP_MASTER, BROADCAST)
    started[0].finished = True
    supervised.tick()
    assert int(rig.desk.taps["on"][TAP_MASTER]) == 0, "the tap of the dead process stays on"
    assert "its process has died" in rig.core.broadcasts.all[1].reason
    now += MIN_RESTART_DELAY
    supervised.tick()
    assert len(started[1].sent[2]["broadcasts"]) == 1


def test_the_title_is_that_of_the_audible_track(rig: Rig, tmp_path: Path) -> None:
    messages = sent(rig)
    rig.send("/broadcast/start", ICECAST)
    for deck, name in (("A", "First"), ("B", "Second")):
        rig.send(f"/deck/{deck}/load", str(write(tmp_path / f"{name}.wav", level(60, 0.1))))
        rig.send(f"/deck/{deck}/crossfader", "left" if deck == "A" else "right")
    rig.send("/mix/crossfader", 0.0, 0.0)
    rig.run(4096)

    def title() -> Any:
        rig.seconds(1.2)
        rig.core.tick()
        return rig.core.broadcasts.title

    assert title() == ("", ""), "nothing plays"
    rig.send("/deck/A/play")
    assert title() == ("", "First")
    rig.send("/deck/B/play")
    assert title() == ("", "First"), "deck B is not audible"
    rig.send("/mix/crossfader", 0.5, 0.0)
    assert title() == ("", "First"), "both are equally loud"
    rig.send("/mix/crossfader", 0.9, 0.0)
    assert title() == ("", "Second")
    rig.send("/deck/A/stop")
    rig.send("/deck/B/stop")
    assert title() == ("", "Second"), "silence has no title"
    assert [one["title"] for one in messages if one["do"] == "title"] == ["First", "Second"]


def test_a_successor_continues_with_the_broadcasts() -> None:
    with RestartableRig() as rig:
        rig.send("/broadcast/start", ICECAST)
        rig.core.broadcasts.handle(LIVE)
        rig.note()
        rig.restart_control()
        one = rig.core.broadcasts.all[1]
        assert (one.state, one.place) == ("live", "icecast://radio:8000/live.mp3")
        assert "geheim" in one.url


def test_a_successor_does_not_change_the_title(tmp_path: Path) -> None:
    """Another title begins another logical stream in Ogg, and an empty one is shown as such."""
    with RestartableRig() as rig:
        rig.send("/broadcast/start", ICECAST)
        rig.send("/deck/A/load", str(write(tmp_path / "First.wav", level(2.0))))
        rig.send("/deck/A/play")
        rig.seconds(1.2)
        rig.send("/deck/A/stop")
        rig.seconds(0.1)
        rig.restart_control()
        messages = sent(rig)
        rig.core.broadcasts.started()
        rig.seconds(1.5)
        assert [one["title"] for one in messages if one["do"] == "title"] == ["First"]


def test_settings_start_broadcasts_and_changes_stop_them(rig: Rig) -> None:
    broadcasts = rig.core.broadcasts
    broadcasts.set_configured([ICECAST, "pipe:/tmp/a"])
    rig.send("/broadcast/start", "pipe:/tmp/own")
    first = broadcasts.all[1]
    broadcasts.set_configured([ICECAST, "pipe:/tmp/b"])
    assert broadcasts.all[1] is first, "what did not change is not interrupted"
    assert {one.place for one in broadcasts.all.values()} == {
        "icecast://radio:8000/live.mp3", "pipe:/tmp/b", "pipe:/tmp/own",
    }
    with pytest.raises(SettingError, match="needs a mount"):
        Rig(broadcast=("icecast://source:geheim@radio",))
