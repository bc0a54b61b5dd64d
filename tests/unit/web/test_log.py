"""Logging of the web process is limited, whatever clients send."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from types import SimpleNamespace
from typing import Any

from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.main import LINES_AT_ONCE, Log, first_line
from tests.support.web_client import ask, settings


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("web", logging.ERROR, "", 0, text, None, None)


def test_a_flood_of_log_lines_is_limited_and_counted() -> None:
    now = [0.0]
    said: list[dict[str, str]] = []
    web: Any = SimpleNamespace(link=SimpleNamespace(send=said.append))
    handler = Log(web, lambda: now[0])
    for number in range(10_000):
        handler.emit(record(f"line {number} " + "x" * 5000))
    assert len(said) == LINES_AT_ONCE
    assert all(len(one["log"]) <= 2010 for one in said)
    now[0] += 31.0
    handler.emit(record("the next"))
    left_out = 10_000 - int(LINES_AT_ONCE)
    assert said[-1]["log"] == f"the next ({left_out} earlier lines of the web process were dropped)"


def test_a_long_traceback_keeps_its_end_and_a_cancelled_request_is_no_error() -> None:
    said: list[dict[str, str]] = []
    web: Any = SimpleNamespace(link=SimpleNamespace(send=said.append))
    handler = Log(web)

    for error in (KeyError("the reason"), asyncio.CancelledError()):
        try:
            raise error
        except BaseException:
            one = record("a request has failed" + 5000 * " x")
            one.exc_info = sys.exc_info()
            handler.emit(one)
    (line,) = said
    assert line["log"].startswith("a request has failed")
    assert line["log"].endswith("KeyError: 'the reason'")


def test_a_failing_handler_returns_500_and_is_logged_once_a_minute(
    caplog: Any,
) -> None:
    now = [100.0]
    gate = AccessMiddleware(settings(), {}, lambda: now[0])

    async def fails(_scope: Any, _receive: Any, _send: Any) -> None:
        raise KeyError("text")

    app = gate.guard(fails)
    answers = [ask(app, "GET", "/x").status for _ in range(100)]
    assert answers == [500] * 100 and gate.refused["fault"] == 100
    assert len(caplog.records) == 1
    now[0] += 61.0
    ask(app, "GET", "/x")
    assert "99 more like it" in caplog.records[-1].getMessage()


def test_reading_the_settings_consumes_only_their_line() -> None:
    reader, writer = os.pipe()
    os.write(writer, b'{"settings": {}}\n{"table": []}\n')
    assert first_line(reader) == b'{"settings": {}}\n'
    assert os.read(reader, 100) == b'{"table": []}\n'
    os.close(reader)
    os.close(writer)
