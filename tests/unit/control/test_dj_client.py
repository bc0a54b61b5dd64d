"""Control's side of the DJ: registration, forwarded requests and published state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crowdstream.control.dj_client import (
    ANSWER_TIMEOUT_SECONDS,
    HEARTBEAT_TIMEOUT_SECONDS,
    PART_LENGTH,
)
from crowdstream.control.publish.state_view import StateView
from tests.support.offline_server import Rig
from tests.unit.control.state.test_snapshotter import RestartableRig

DJ, PERSON = ("127.0.0.1", 5000), ("127.0.0.1", 6000)


def send_as(
    rig: Rig, sender: Any, address: str, *arguments: Any
) -> list[tuple[str, tuple[Any, ...]]]:
    """Send as a sender; return all replies sent meanwhile, as (address, arguments)."""
    before = len(rig.answers.said)
    rig.send(address, *arguments, sender=sender)
    return [(said, values) for _, said, values in rig.answers.said[before:]]


def test_a_command_without_a_dj_is_refused(rig: Rig) -> None:
    [(address, (about, reason))] = send_as(rig, PERSON, "/dj/next")
    assert (address, about) == ("/fail", "/dj/next") and "no DJ is connected" in reason


def test_a_request_gets_its_reply_when_the_dj_answers(rig: Rig) -> None:
    assert send_as(rig, DJ, "/dj/register", "begin") == [("/done", ("/dj/register",))]
    [(address, (number, word, path))] = send_as(rig, PERSON, "/dj/queue", "x.wav")
    assert (address, word, path) == ("/dj/do", "queue", "x.wav")
    assert rig.answers.said[-1][0] == DJ
    assert send_as(rig, DJ, "/dj/answer", number) == [("/done", ("/dj/queue",))]
    assert rig.answers.said[-1][0] == PERSON
    [(_, (number, *_))] = send_as(rig, PERSON, "/dj/ban", "y")
    replies = send_as(rig, DJ, "/dj/answer", number, "not known")
    assert replies == [("/fail", ("/dj/ban", "not known"))]


def test_a_dj_that_does_not_answer_or_disconnects_is_reported(rig: Rig) -> None:
    send_as(rig, DJ, "/dj/register", "begin")
    send_as(rig, PERSON, "/dj/skip")
    rig.seconds(ANSWER_TIMEOUT_SECONDS + 0.2)
    assert rig.fails() == ["/dj/skip the DJ did not answer in time"]
    rig.seconds(HEARTBEAT_TIMEOUT_SECONDS)
    send_as(rig, PERSON, "/dj/skip")
    assert "no DJ is connected" in rig.fails()[-1]


def test_the_latest_to_register_is_the_dj(rig: Rig) -> None:
    other = ("127.0.0.1", 5001)
    send_as(rig, DJ, "/dj/register", "begin")
    assert ("/dj/replaced", ()) in send_as(rig, other, "/dj/register", "begin")
    for words in (("/dj/register", "on"), ("/dj/register", "end"), ("/dj/state", 1, 1, "{}"),
                  ("/dj/answer", 1)):  # fmt: skip
        assert send_as(rig, DJ, *words)[0][0] == "/fail"
    assert send_as(rig, other, "/dj/register", "end") == [("/done", ("/dj/register",))]


def test_the_published_state_is_shown_and_returned(rig: Rig) -> None:
    picture = StateView(rig.core)
    assert picture.changes()["dj"] == {"there": 0}
    send_as(rig, DJ, "/dj/register", "begin")
    text = json.dumps({"note": "x" * 1500, "there": 7})
    parts = [text[at : at + PART_LENGTH] for at in range(0, len(text), PART_LENGTH)]
    for number, part in enumerate(parts, 1):
        assert send_as(rig, DJ, "/dj/state", number, len(parts), part) == []
    assert picture.changes()["dj"] == {"there": 1, "note": "x" * 1500}
    received = send_as(rig, PERSON, "/dj/status")
    assert "".join(values[3] for _, values in received) == text
    assert [values[:3] for _, values in received] == [(1, 1, 2), (1, 2, 2)]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(1, 1, "[]")], "not a JSON object"),
        ([(1, 1, "{")], "not valid JSON"),
        ([(2, 2, "{}")], "start again with part 1"),
        ([(2, 1, "{}")], "no part 2"),
        ([(1, 1, '"' + "x" * PART_LENGTH + '"')], "the maximum is 1000"),
        ([(1, 1, "[" * 900 + "]" * 100)], "not valid JSON"),
    ],
)
def test_an_invalid_state_changes_nothing(
    rig: Rig, parts: list[tuple[int, int, str]], reason: str
) -> None:
    send_as(rig, DJ, "/dj/register", "begin")
    send_as(rig, DJ, "/dj/state", 1, 1, '{"note": "good"}')
    for part in parts:
        send_as(rig, DJ, "/dj/state", *part)
    assert reason in rig.fails()[-1]
    assert rig.core.dj.state == {"note": "good"}


def test_while_a_dj_is_connected_movement_does_not_change_the_tempo(tmp_path: Path) -> None:
    chart = tmp_path / "map.toml"
    chart.write_text("steps = [[0, 110], [1, 140]]\nattack_seconds = 1\n", encoding="utf-8")
    rig = Rig(movement_map=chart)
    try:
        send_as(rig, DJ, "/dj/register", "begin")
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(2)
        assert rig.status()["bpm"] == 120.0
        send_as(rig, DJ, "/dj/register", "end")
        rig.seconds(2)
        assert rig.status()["bpm"] == 140.0
    finally:
        rig.close()


def test_a_new_control_restores_the_dj() -> None:
    rig = RestartableRig()
    try:
        send_as(rig, DJ, "/dj/register", "begin")
        send_as(rig, DJ, "/dj/state", 1, 1, '{"note": "on"}')
        rig.note()
        rig.restart_control()
        assert rig.core.dj.connected and rig.core.dj.value() == {"there": 1, "note": "on"}
        assert send_as(rig, DJ, "/dj/register", "on") == [("/done", ("/dj/register",))]
    finally:
        rig.close()
