"""Formats of log lines."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from crowdstream.logs import under_journal
from crowdstream.logs.formatters import MAX_TEXT, JournalFormatter, JsonFormatter, TextFormatter


def record(text: str, *values: Any, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("crowdstream.test", level, "", 0, text, values, None)
    made.__dict__.update(more)
    return made


def test_text_has_time_level_and_message() -> None:
    line = TextFormatter().format(record("hello %d", 1))
    date, _time, level, message = line.split(" ", 3)
    assert datetime.fromisoformat(date).year >= 2001
    assert (level, message) == ("INFO", "hello 1")


def test_json_is_one_object_with_time_level_logger_and_message() -> None:
    made = record("gap %s", "a\nb", level=logging.WARNING, created=1_000_000_000.1234)
    line = JsonFormatter().format(made)
    assert "\n" not in line
    fields = json.loads(line)
    assert fields == {
        "time": "2001-09-09T01:46:40.123+00:00", "level": "warning", "logger": "crowdstream.test",
        "process": made.process, "message": "gap a\nb",
    }  # fmt: skip


def test_json_contains_the_data_of_the_message() -> None:
    data = {
        "cause": "device", "underruns": np.int64(2), "worst_ms": np.float32(0.5), "none": None,
        "broken": float("nan"), "endless": float("-inf"), "yes": True, "deep": {"list": (1, 2.5)},
        "name": "\udcff", "thing": object,
    }  # fmt: skip
    fields = json.loads(JsonFormatter().format(record("x", data=data)))["data"]
    assert fields.pop("thing").startswith("<class")
    assert fields == {
        "cause": "device", "underruns": 2, "worst_ms": 0.5, "none": None, "broken": None,
        "endless": None, "yes": True, "deep": {"list": [1, 2.5]}, "name": "\\udcff",
    }  # fmt: skip


def test_json_accepts_and_truncates_any_text() -> None:
    line = JsonFormatter().format(record("%s", "\udc80" + "x" * 100_000))
    line.encode("utf-8")
    assert len(json.loads(line)["message"]) <= MAX_TEXT + 10
    line = TextFormatter().format(record("x" * 100_000 + "end"))
    assert len(line) < MAX_TEXT + 100 and line.endswith("xend")


def test_json_contains_the_traceback() -> None:
    try:
        raise ValueError("the reason")
    except ValueError:
        made = record("failed", exc_info=sys.exc_info())
    fields = json.loads(JsonFormatter().format(made))
    assert fields["error"].startswith("Traceback") and fields["error"].endswith("the reason")


def test_journal_lines_have_a_priority_and_no_time() -> None:
    assert JournalFormatter().format(record("hello")) == "<6>INFO hello"
    assert JournalFormatter().format(record("a\nb", level=logging.ERROR)) == "<3>ERROR a\n<3>b"
    assert JournalFormatter().format(record("w", level=logging.WARNING)) == "<4>WARNING w"
    assert JournalFormatter().format(record("d", level=logging.DEBUG)) == "<7>DEBUG d"
    line = JournalFormatter(JsonFormatter()).format(record("hello"))
    assert line.startswith("<6>{") and json.loads(line[3:])["message"] == "hello"


def test_the_journal_is_recognized_by_its_stream(tmp_path: Any) -> None:
    with (tmp_path / "stream").open("wb") as stream:
        status = os.fstat(stream.fileno())
        there = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        other = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}
        assert under_journal(there, stream.fileno())
        assert not under_journal(other, stream.fileno())
        assert not under_journal({}, stream.fileno())


@pytest.mark.parametrize("text", ["", "1", "a:b", "1:2:3"])
def test_an_invalid_journal_stream_is_ignored(text: str) -> None:
    assert not under_journal({"JOURNAL_STREAM": text})
