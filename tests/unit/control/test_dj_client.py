"""The DJ as control knows it: who it is, what it is told, what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crowdstream.control.dj_client import ANSWER_TIMEOUT_SECONDS, HEARTBEAT_TIMEOUT_SECONDS, PART_LENGTH
from crowdstream.control.publish.state_view import StateView
from tests.support.offline_server import Rig
from tests.unit.control.state.test_snapshotter import Mortal

DJ, PERSON = ("127.0.0.1", 5000), ("127.0.0.1", 6000)


def say(rig: Rig, sender: Any, address: str, *arguments: Any) -> list[tuple[str, tuple[Any, ...]]]:
    """Send as somebody; what anybody is answered meanwhile, as (address, arguments)."""
    before = len(rig.answers.said)
    rig.send(address, *arguments, sender=sender)
    return [(said, values) for _, said, values in rig.answers.said[before:]]


def test_without_a_dj_it_is_said_so(rig: Rig) -> None:
    [(address, (about, reason))] = say(rig, PERSON, "/dj/next")
    assert (address, about) == ("/fail", "/dj/next") and "no DJ is there" in reason


def test_what_it_is_told_is_answered_when_it_answers(rig: Rig) -> None:
    assert say(rig, DJ, "/dj/here", "begin") == [("/done", ("/dj/here",))]
    [(address, (number, word, path))] = say(rig, PERSON, "/dj/queue", "x.wav")
    assert (address, word, path) == ("/dj/do", "queue", "x.wav")
    assert rig.answers.said[-1][0] == DJ
    assert say(rig, DJ, "/dj/answer", number) == [("/done", ("/dj/queue",))]
    assert rig.answers.said[-1][0] == PERSON
    [(_, (number, *_))] = say(rig, PERSON, "/dj/ban", "y")
    assert say(rig, DJ, "/dj/answer", number, "not known") == [("/fail", ("/dj/ban", "not known"))]


def test_one_that_does_not_answer_or_goes_is_told(rig: Rig) -> None:
    say(rig, DJ, "/dj/here", "begin")
    say(rig, PERSON, "/dj/skip")
    rig.seconds(ANSWER_TIMEOUT_SECONDS + 0.2)
    assert rig.fails() == ["/dj/skip the DJ does not answer"]
    rig.seconds(HEARTBEAT_TIMEOUT_SECONDS)
    say(rig, PERSON, "/dj/skip")
    assert "no DJ is there" in rig.fails()[-1]


def test_the_latest_who_begins_is_the_dj(rig: Rig) -> None:
    other = ("127.0.0.1", 5001)
    say(rig, DJ, "/dj/here", "begin")
    assert ("/dj/replaced", ()) in say(rig, other, "/dj/here", "begin")
    for words in (("/dj/here", "on"), ("/dj/here", "end"), ("/dj/state", 1, 1, "{}"),
                  ("/dj/answer", 1)):  # fmt: skip
        assert say(rig, DJ, *words)[0][0] == "/fail"
    assert say(rig, other, "/dj/here", "end") == [("/done", ("/dj/here",))]


def test_what_it_says_of_itself_is_shown_and_told(rig: Rig) -> None:
    picture = StateView(rig.core)
    assert picture.changes()["dj"] == {"there": 0}
    say(rig, DJ, "/dj/here", "begin")
    text = json.dumps({"note": "x" * 1500, "there": 7})
    parts = [text[at : at + PART_LENGTH] for at in range(0, len(text), PART_LENGTH)]
    for number, part in enumerate(parts, 1):
        assert say(rig, DJ, "/dj/state", number, len(parts), part) == []
    assert picture.changes()["dj"] == {"there": 1, "note": "x" * 1500}
    told = say(rig, PERSON, "/dj/status")
    assert "".join(values[3] for _, values in told) == text
    assert [values[:3] for _, values in told] == [(1, 1, 2), (1, 2, 2)]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(1, 1, "[]")], "no JSON object"),
        ([(1, 1, "{")], "no JSON"),
        ([(2, 2, "{}")], "begin with 1"),
        ([(2, 1, "{}")], "no part 2"),
        ([(1, 1, '"' + "x" * PART_LENGTH + '"')], "up to 1000"),
        ([(1, 1, "[" * 900 + "]" * 100)], "no JSON"),
    ],
)
def test_what_is_no_state_changes_nothing(
    rig: Rig, parts: list[tuple[int, int, str]], reason: str
) -> None:
    say(rig, DJ, "/dj/here", "begin")
    say(rig, DJ, "/dj/state", 1, 1, '{"note": "good"}')
    for part in parts:
        say(rig, DJ, "/dj/state", *part)
    assert reason in rig.fails()[-1]
    assert rig.core.dj.state == {"note": "good"}


def test_while_a_dj_is_there_the_tempo_is_its_own(tmp_path: Path) -> None:
    chart = tmp_path / "map.toml"
    chart.write_text("steps = [[0, 110], [1, 140]]\nattack_seconds = 1\n", encoding="utf-8")
    rig = Rig(movement_map=chart)
    try:
        say(rig, DJ, "/dj/here", "begin")
        rig.send("/dance/total_movement", 1.0)
        rig.seconds(2)
        assert rig.status()["bpm"] == 120.0
        say(rig, DJ, "/dj/here", "end")
        rig.seconds(2)
        assert rig.status()["bpm"] == 140.0
    finally:
        rig.close()


def test_a_later_control_knows_the_dj() -> None:
    rig = Mortal()
    try:
        say(rig, DJ, "/dj/here", "begin")
        say(rig, DJ, "/dj/state", 1, 1, '{"note": "on"}')
        rig.note()
        rig.die()
        assert rig.core.dj.there and rig.core.dj.value() == {"there": 1, "note": "on"}
        assert say(rig, DJ, "/dj/here", "on") == [("/done", ("/dj/here",))]
    finally:
        rig.close()
