"""`crowdstream fleet` as a program: the view in a terminal, the page, and wrong usage."""

from __future__ import annotations

import codecs
import fcntl
import http.client
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.support.environment import PROJECT, child_environment
from tests.support.server import WAIT_SECONDS, free_port

PROGRAM = (sys.executable, "-P", "-m", "crowdstream", "fleet")


@pytest.mark.parametrize("leave", ["q", "TERM"])
def test_the_view_opens_and_leaves_the_terminal_clean(leave: str) -> None:
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, "--server", f"away=127.0.0.1:{free_port()}"], stdin=child, stdout=child,
        stderr=child, env=child_environment(TERM="xterm-256color"), cwd=PROJECT,
    )  # fmt: skip
    shown, decoder = "", codecs.getincrementaldecoder("utf-8")()
    left = False
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([parent], [], [], 0.05)[0]:
                shown += decoder.decode(os.read(parent, 65536))
            if "no program listens" in shown and not left:
                left = True
                if leave == "q":
                    os.write(parent, b"q")
                else:
                    process.send_signal(signal.SIGTERM)
        while select.select([parent], [], [], 0.05)[0]:
            shown += decoder.decode(os.read(parent, 65536))
        assert process.poll() == 0, shown
        assert shown.endswith("\x1b[?1049l") and "Traceback" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(parent)
        os.close(child)


def test_the_page_is_served_until_a_signal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file, subprocess.Popen(
        [*PROGRAM, "--server", f"away=127.0.0.1:{free_port()}", "--http", "0"],
        stdout=file, stderr=subprocess.STDOUT, env=child_environment(), cwd=PROJECT,
    ) as process:  # fmt: skip
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while not (found := re.search(r"page on http://127\.0\.0\.1:(\d+)", log.read_text())):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            connection.request("GET", "/api/fleet")
            [server] = json.loads(connection.getresponse().read())["servers"]
            assert server["name"] == "away"
            connection.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_SECONDS) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(("arguments", "reason"), [
    ([], "no servers: name them"),
    (["--server", "a:b"], "the port must be a number"),
    (["--server", "-x"], "expected one argument"),
    (["--server", "a", "--once", "--send", "/x"], "exclude each other"),
    (["--server", "a", "--in", "2"], "--in needs --send"),
    (["--server", "a"], "use --once"),
    (["b", "--server", "a", "--once"], "neither the name"),
    (["--config", "/none.toml"], "No such file"),
    (["--server", "a", "--max-error-ms", "nan", "--once"], "--max-error-ms"),
])  # fmt: skip
def test_wrong_usage_has_status_2_and_one_line(arguments: list[str], reason: str) -> None:
    ended = subprocess.run(
        [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=child_environment(), cwd=PROJECT, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 2 and reason in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
