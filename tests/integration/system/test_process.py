"""The end of another process is noticed, whether or not its parent has collected its status."""

from __future__ import annotations

import os
import subprocess
import sys

from crowdstream.system.process import watch_process
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
