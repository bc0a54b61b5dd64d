"""The Link session: times of the server's clock, and what is sent to the library."""

from __future__ import annotations

import builtins
import re
import sys
import time
from dataclasses import replace
from typing import Any

import pytest

from crowdstream.link.session import LinkMissing, LinkSession, SessionState, load_library
from crowdstream.system.text import install_command
from tests.support import fake_link

STATE = SessionState(at=10.0, beat=4.0, bpm=120.0, peers=1, playing=False, play_at=0.0)


@pytest.fixture
def session() -> LinkSession:
    """A session of the library in memory."""
    return LinkSession(time.monotonic(), 0.0, 120.0, fake_link)


def link() -> fake_link.Link:
    """The library's object of the latest session."""
    return fake_link.Link.made[-1]


def test_a_session_is_joined_and_left(session: LinkSession) -> None:
    assert link().enabled
    session.set_start_stop(True)
    assert link().startStopSyncEnabled
    session.close()
    assert not link().enabled


def test_a_session_begins_with_the_clocks_timeline() -> None:
    at = time.monotonic() - 10.0
    found = LinkSession(at, 2.5, 90.0, fake_link).read()
    assert found.bpm == 90.0
    assert found.beat - (found.at - at) * 1.5 == pytest.approx(2.5, abs=1e-3)


def test_times_are_those_of_the_monotonic_clock(session: LinkSession) -> None:
    before = time.monotonic()
    state = session.read()
    assert before <= state.at + 1e-4
    assert state.at <= time.monotonic() + 1e-4
    at = time.monotonic() + 1.0
    session.set_timeline(at, 7.5, 140.0)
    found = session.read()
    assert found.bpm == 140.0
    assert found.beat + (at - found.at) * 140.0 / 60.0 == pytest.approx(7.5, abs=1e-3)
    session.set_playing(at, True)
    found = session.read()
    assert found.playing
    assert found.play_at == pytest.approx(at, abs=1e-3)


def test_a_change_of_tempo_keeps_the_beats_continuous(session: LinkSession) -> None:
    at = time.monotonic()
    before = session.read()
    session.set_tempo(at, 60.0)
    found = session.read()
    assert found.bpm == 60.0
    expected = before.beat + (at - before.at) * 2.0 + (found.at - at)
    assert found.beat == pytest.approx(expected, abs=1e-3)


def test_the_quantum_is_that_of_the_clock(session: LinkSession) -> None:
    session.quantum = 3.0
    session.set_timeline(time.monotonic(), 0.0, 120.0)
    assert link().quantum == 3.0


def test_only_changes_count_as_moved() -> None:
    assert not STATE.moved(replace(STATE, at=11.0, beat=6.0))
    assert not STATE.moved(replace(STATE, at=11.0, beat=6.0 + 1e-5))
    assert STATE.moved(replace(STATE, at=11.0, beat=6.001))
    assert STATE.moved(replace(STATE, bpm=121.0))
    assert STATE.moved(replace(STATE, peers=0))
    assert STATE.moved(replace(STATE, playing=True))


def test_a_missing_library_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "link", None)
    remedy = re.escape(install_command("LinkPython-extern"))
    with pytest.raises(LinkMissing, match=remedy):
        load_library()


def test_another_package_of_that_name_is_not_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "link", builtins)
    with pytest.raises(LinkMissing, match="is not LinkPython-extern"):
        load_library()


def test_the_real_library_has_what_is_used() -> None:
    library: Any = load_library()
    state = {name for name in dir(fake_link.FakeState) if not name.startswith("_")}
    assert state <= {*dir(library.SessionState)}
    members = {name for name in dir(fake_link.Link) if not name.startswith("_")} - {"made"}
    assert {*members, "enabled", "startStopSyncEnabled"} <= {*dir(library.Link)}
