"""The end of another process is noticed, and messages to a parent that has ended are discarded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("where", ["in the process", "in a fork of it"])
def test_a_library_works_after_its_pages_were_released(where: str) -> None:
    # The linker has written addresses into pages of the library, which must be kept.
    program = (
        "import os, sys\n"
        "import llvmlite.binding as llvm\n"
        "from crowdstream.system.process import release_pages\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1])\n"
        "llvm.initialize_native_target()\n"
        "if sys.argv[1] == 'in a fork of it' and (child := os.fork()):\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "before = resident()\n"
        "release_pages('libllvmlite')\n"
        "assert sys.argv[1] == 'in a fork of it' or resident() < 0.8 * before\n"
        "text = 'define i64 @f() { ret i64 7 }'\n"
        "machine = llvm.Target.from_default_triple().create_target_machine()\n"
        "print(str(llvm.parse_assembly(text)).count('ret i64 7'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, where], cwd=PROJECT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


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
