"""Children and callers: what they say, and how their end is noticed."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import pytest

from crowdstream.control.children import Caller, Child, ChildError, ServerGone


def test_a_child_that_prints_is_logged_and_one_that_ends_is_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, writer = os.pipe()
    child = Child("this", "", reader)  # the Zen of Python is no JSON
    while not child.finished:
        assert child.read() == []
        time.sleep(0.01)
    assert any("Beautiful is better than ugly" in r.getMessage() for r in caplog.records)
    assert child.last_words == "status 0"
    child.end()
    child.send({"do": "nothing"})  # after its end: goes nowhere, and into no other descriptor
    os.close(reader)
    os.close(writer)


def test_a_child_that_can_not_be_made_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ChildError, match="no process for this: No such file"):
        Child("this", "", 0)


def test_calls_reach_the_thread_or_fail() -> None:
    served: list[Any] = []
    go_on = True

    def serve() -> None:
        while go_on:
            caller.run_waiting()
            time.sleep(0.001)

    thread = threading.Thread(target=serve)
    caller = Caller(thread)
    thread.start()
    assert caller.call(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        caller.call(lambda: 1 / 0)
    assert caller.call(lambda: caller.call(lambda: 7)) == 7
    go_on = False
    thread.join()
    late = threading.Thread(target=lambda: served.append(_refused(caller)))
    late.start()
    time.sleep(0.05)
    caller.close()
    late.join(2)
    assert served == [True]
    assert _refused(caller)
    caller.free()


def _refused(caller: Caller) -> bool:
    try:
        caller.call(lambda: None)
    except ServerGone:
        return True
    return False
