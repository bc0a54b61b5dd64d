"""Logging as set up by a process: no fault of the log blocks the process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from crowdstream.logs.async_handler import MAX_WAITING, AsyncHandler
from tests.support.environment import PROJECT, child_environment
from tests.support.server import WAIT_SECONDS, server, until

SAY = (
    "import logging, sys; from crowdstream import logs\n"
    "from crowdstream.settings import resolve\n"
    "logs.set_up(resolve(sys.argv[1:]).settings)\n"
)


def run(program: str, *options: str) -> str:
    """Standard error of a program that logs."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", SAY + program, *options],
        env=child_environment(), stderr=subprocess.PIPE, text=True, timeout=WAIT_SECONDS,
        check=True,
    )  # fmt: skip
    return done.stderr


def test_all_queued_lines_are_written_before_the_exit(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    program = "for n in range(1500): logging.info('line %d', n)"
    output = run(program, "--log-file", str(file)).splitlines()
    assert [line.split()[-1] for line in output] == [str(n) for n in range(1500)]
    assert file.read_text().splitlines() == output


def test_json_and_the_level_apply_to_both_targets(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    program = "logging.info('no'); logging.warning('yes', extra={'data': {'n': 1}})"
    options = ("--log-format", "json", "--log-level", "warning", "--log-file", str(file))
    (line,) = run(program, *options).splitlines()
    assert json.loads(line)["data"] == {"n": 1}
    assert file.read_text() == line + "\n"


def test_lines_for_the_journal_have_no_time_of_their_own(tmp_path: Path) -> None:
    # Standard error is a pipe of the test, which stands for the journal.
    reader, writer = os.pipe()
    status = os.fstat(writer)
    environment = child_environment(JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
    file = tmp_path / "a.log"
    subprocess.run(
        [sys.executable, "-P", "-c", SAY + "logging.error('x')", "--log-file", str(file)],
        env=environment, stderr=writer, timeout=WAIT_SECONDS, check=True,
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as journal:
        assert journal.read() == "<3>ERROR x\n"
    assert file.read_text().endswith(" ERROR x\n") and file.read_text()[0] == "2"


def test_an_unusable_log_file_is_reported_once(tmp_path: Path) -> None:
    program = "for n in range(20): logging.info('line %d', n)"
    output = run(program, "--log-file", str(tmp_path)).splitlines()
    assert len(output) == 21
    assert len([line for line in output if "can't be written" in line]) == 1


def test_a_blocked_target_blocks_no_thread() -> None:
    free = threading.Event()
    lines = []

    def write(line: bytes) -> None:
        free.wait()
        lines.append(line)

    handler = AsyncHandler(write)
    log = logging.Logger("stuck")
    log.addHandler(handler)
    for number in range(MAX_WAITING + 500):
        log.info("%d", number)
    handler.flush()
    assert not lines  # the call has returned while the target was blocked
    free.set()
    handler.flush()
    log.info("after")
    handler.close()
    assert lines[0] == b"0\n" and lines[-1] == b"after\n"
    assert len(lines) == MAX_WAITING + 3  # one line was being written; the report; the last line
    assert lines[-2] == b"499 lines were dropped: they could not be written\n"


def test_an_unread_pipe_does_not_block_a_program() -> None:
    reader, writer = os.pipe()
    program = "for n in range(1900): logging.info('x' * 200)\nprint('done')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", SAY + program],
        env=child_environment(), stdout=subprocess.PIPE, stderr=writer, timeout=WAIT_SECONDS,
        check=True,
    )  # fmt: skip
    os.close(writer)
    os.close(reader)
    assert done.stdout == b"done\n"


def test_a_message_that_does_not_match_its_values_raises_nothing() -> None:
    output = run("logging.info('%d', 'no number'); logging.info('next')")
    assert output.splitlines()[-1].endswith("INFO next") or "INFO next" in output


def test_set_up_twice_leaves_one_handler_per_target(tmp_path: Path) -> None:
    program = "logs.set_up(resolve(sys.argv[1:]).settings); logging.info('once')"
    file = tmp_path / "a.log"
    assert len(run(program, "--log-file", str(file)).splitlines()) == 1
    assert len(file.read_text().splitlines()) == 1


def test_a_fatal_error_is_in_the_log_and_a_plain_line_for_people(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    program = "logging.info('before'); logs.fatal('the port is taken')"
    output = run(program, "--log-file", str(file)).splitlines()
    assert output[0].endswith("INFO before") and output[1:] == ["crowdstream: the port is taken"]
    lines = file.read_text().splitlines()
    assert lines[0].endswith("INFO before") and lines[1].endswith("ERROR the port is taken")
    output = run(program, "--log-format", "json").splitlines()
    assert [json.loads(line)["level"] for line in output] == ["info", "error"]


def test_a_server_that_cannot_start_logs_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    done = subprocess.run(
        [sys.executable, "audio_server.py", "--osc-host", "192.0.2.1", "--port", "0",
         "--driver", "null", "--log-file", str(file)],
        cwd=PROJECT, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "crowdstream: UDP port 0 on 192.0.2.1 can't be used" in done.stderr
    assert "ERROR UDP port 0 on 192.0.2.1 can't be used" in file.read_text()


def test_end_leaves_no_threads_and_files_open(tmp_path: Path) -> None:
    program = (
        "import os, threading\n"
        "logging.info('one'); logs.end()\n"
        "assert not logging.getLogger().handlers and threading.active_count() == 1\n"
        "assert len(os.listdir('/proc/self/fd')) == before\n"
    )
    program = "before = len(__import__('os').listdir('/proc/self/fd'))\n" + program
    file = tmp_path / "a.log"
    run(program, "--log-file", str(file))
    assert file.read_text().endswith("INFO one\n")


def test_the_server_logs_json_with_data_fields(tmp_path: Path) -> None:
    file = tmp_path / "night.log"
    null = ("--driver", "null", "--standby", "off", "--stats-interval", "1")
    with server(tmp_path, *null, "--log-format", "json", "--log-file", str(file)) as running:
        running.client.request("/no/such", answer="/fail")
        until(lambda: "[STATS]" in file.read_text())
    output = [json.loads(line) for line in file.read_text().splitlines()]
    (failed,) = [entry["data"] for entry in output if "/no/such" in entry["message"]]
    assert failed["address"] == "/no/such" and failed["sender"].startswith("127.0.0.1:")
    stats = next(entry for entry in output if entry["message"].startswith("[STATS]"))
    assert stats["data"]["underruns"] >= 0 and stats["data"]["messages"] >= 1
    assert {"control", "engine", "loader"} <= set(stats["data"]["cpu"])
