"""Log texts for events and for changes of the status."""

from __future__ import annotations

from typing import Any

import pytest

from crowdstream.top.event_log import differences, event
from crowdstream.top.readings import BAD, OK, WARN, Readings
from tests.support.top_terminal import status


@pytest.mark.parametrize(
    ("message", "grade", "words"),
    [
        (("/underrun", "late_callback", 2, 3.25), BAD, "underrun, late callback: 2, worst 3.2 ms"),
        (("/underrun", "missing_page", 4, 0.0), BAD, "missing page: 4"),
        (("/ended", 100, "night drive"), OK, "night drive has ended"),
        (("/broken", 100, "cut off"), BAD, "cut off"),
        (("/stall", "/media/x.wav", 2.0), BAD, "2.0 s to read a page of /media/x.wav"),
        (("/restarted", "loader"), BAD, "loader process died and was restarted"),
        (("/device", 0), BAD, "gone"),
        (("/device", 1), OK, "back"),
        (("/engine", "died", 11.6, "pyaudio", "USB"), BAD, "another engine has taken over (died)"),
        (("/quality", 2, "load"), WARN, "level 2 (load)"),
        (("/quality", 0, "calm"), OK, "full quality"),
        (("/record/continued", "a.wav", 9, "a-2.wav"), WARN,
         "recording a.wav can't grow further: it continues in a-2.wav"),
        (("/record/failed", "a.wav", "disk full"), BAD, "recording a.wav failed: disk full"),
        (("/event", "2026-11-21T22:04:05.123Z", "error", "device_lost", "it is gone"), BAD,
         "it is gone"),
        (("/event", "2026-11-21T22:04:05.123Z", "info", "started", "it began"), OK, "it began"),
        (("/event",), OK, "/event"),
        (("/something/new", 1, "x"), OK, "/something/new 1 x"),
        (("/underrun",), OK, "/underrun"),
    ],
)
def test_events(message: tuple[Any, ...], grade: str, words: str) -> None:
    told = event(message[0], message[1:])
    assert told is not None
    assert told[0] == grade
    assert words in told[1]


def test_messages_that_are_not_events_are_not_logged() -> None:
    assert event("/done", ("/notify", 0, 64)) is None
    assert event("/meter", ("A", 0.0, 0.0, 0.0)) is None


def test_changes_between_two_statuses() -> None:
    after = status(A_state="ready", B_state="playing", B_track="morning", failed=2,
                   late_commands=1, recording=1, standby="none", buffer_size=512)  # fmt: skip
    said = [text for _, text in differences(status(), after)]
    assert said == [
        "A stopped", "B: morning", "B plays", "2 commands failed", "1 command came late",
        "recording 1 file", "standby engine: none", "buffer size: 512",
    ]  # fmt: skip
    assert list(differences(status(), status(A_position=90.0, messages=200))) == []


def test_repeated_log_lines_are_counted() -> None:
    known = Readings("x", 1)
    for _ in range(3):
        known.add_log(1.0, OK, "a\nb")
    known.add_log(1.0, OK, "c")
    assert [(one.text, one.count) for one in known.log] == [("a\\nb", 3), ("c", 1)]
