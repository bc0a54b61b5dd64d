"""The end of another process is noticed, and messages to a parent that has ended are discarded."""

from __future__ import annotations

import os
import subprocess
import sys

from crowdstream.system.process import watch_process
from tests.support.environment import PROJECT
from tests.support.osc_client import until


def test_the_end_of_a_process_is_noticed_before_its_parent_collects_the_status() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        ended = watch_process(process.pid)
        assert not ended()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        until(ended)
        os.kill(process.pid, 0)  # its number is still in use: it is a zombie
        process.wait()
        assert ended()


def test_a_process_that_does_not_exist_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert watch_process(process.pid)()


def test_a_child_whose_parent_has_ended_ends_without_a_report_of_unsent_output() -> None:
    program = (
        "from crowdstream.system.process import send_to_parent\n"
        "input()\n"
        "try:\n"
        "    send_to_parent({'event': 'up'})\n"
        "except BrokenPipeError:\n"
        "    print('more')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=PROJECT,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
