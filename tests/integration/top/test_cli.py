"""The program with a real server, in a terminal and without one."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from crowdstream.top.cli import top
from crowdstream.top.terminal import split
from tests.support.environment import child_environment
from tests.support.offline_server import level, write
from tests.support.server import PROJECT, WAIT_SECONDS, free_port, server, until
from tests.support.top_terminal import Shown

PROGRAM = (sys.executable, "-P", "-m", "crowdstream", "top")
TERM = "xterm-256color"
NULL = ("--driver", "null", "--standby", "off")


class Terminal:
    """The program in its own terminal."""

    def __init__(self, port: int, *options: str, width: int = 80, height: int = 24) -> None:
        self.shown = Shown(width, height)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._end = parent
        self.before = termios.tcgetattr(child)
        self.child = child
        self.process = subprocess.Popen(
            [*PROGRAM, "--port", str(port), "--rate", "10", *options],
            stdin=child, stdout=child, stderr=child, env=child_environment(TERM=TERM), cwd=PROJECT,
        )  # fmt: skip

    def read(self) -> str:
        """The current contents of the terminal, as one text."""
        while select.select([self._end], [], [], 0.05)[0]:
            self.raw += self._decoder.decode(os.read(self._end, 65536))
            # A frame may arrive in pieces, but the terminal shows it as a whole.
            if self.raw.endswith("\x1b[?2026l"):
                break
        self.shown = Shown(80, 24)
        for frame in self.raw.split("\x1b[?2026h")[1:]:
            if frame.endswith("\x1b[?2026l"):
                self.shown.write(frame)
        return "\n".join(self.shown.lines())

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._end, keys.encode())

    def close(self) -> None:
        """Kill the program and close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)
        os.close(self.child)


def once(port: int, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """Run `top --once` without a terminal."""
    return subprocess.run(
        [*PROGRAM, "--port", str(port), "--once"], cwd=PROJECT, capture_output=True, text=True,
        env=child_environment(TERM=TERM, PYTHONIOENCODING=encoding), timeout=WAIT_SECONDS,
        check=False,
    )  # fmt: skip


def test_a_real_server_is_shown_controlled_and_awaited(tmp_path: Path) -> None:
    port = free_port()
    terminal = Terminal(port, "--control")
    try:
        until(lambda: "no program listens on that port" in terminal.read())
        track = write(tmp_path / "[red]tone.wav", level(60.0))
        with server(tmp_path, *NULL, "--port", str(port)) as running:
            until(lambda: "the server answers" in terminal.read())
            running.client.request("/deck/B/load", str(track), answer="/done")
            running.client.send("/deck/B/level", 1.0)
            until(lambda: "■  [red]tone" in terminal.read())
            terminal.press("\x1b[B ")
            until(lambda: running.client.status()["deck.B.state"] == "playing")
            until(lambda: "▶  [red]tone" in terminal.read())
            until(lambda: "master  █" in terminal.read())

            printed = once(port)
            assert printed.returncode == 0, printed.stderr
            assert "▶  [red]tone" in printed.stdout
            assert "\x1b" not in printed.stdout
            assert max(len(line) for line in printed.stdout.splitlines()) <= 80

            plain = once(port, "ascii")
            assert plain.returncode == 0, plain.stderr
            assert plain.stdout.isascii()

            terminal.press("b ")
            until(lambda: running.client.status()["deck.B.state"] == "ready")
        until(lambda: "no server at" in terminal.read())
        with server(tmp_path, *NULL, "--port", str(port)):
            until(lambda: "the server was restarted" in terminal.read())
        terminal.press("q")
        until(lambda: terminal.read() is not None and terminal.process.poll() is not None)
        assert terminal.process.returncode == 0
        assert terminal.raw.endswith("\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(terminal.child) == terminal.before
    finally:
        terminal.close()


def test_keys_send_no_commands_without_control(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        terminal = Terminal(listening.getsockname()[1])
        try:
            until(lambda: "waiting" in terminal.read() or "no server" in terminal.read())
            terminal.press(" \x1b[B q")
            until(lambda: terminal.read() is not None and terminal.process.poll() is not None)
            assert terminal.process.returncode == 0
            received = set()
            with contextlib.suppress(BlockingIOError):  # no more packets
                while True:
                    received.add(listening.recv(1000).split(b"\0")[0])
            assert received == {b"/status"}
        finally:
            terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(number: int) -> None:
    terminal = Terminal(free_port())
    try:
        until(lambda: "no server" in terminal.read())
        terminal.process.send_signal(number)
        until(lambda: terminal.read() is not None and terminal.process.poll() is not None)
        assert terminal.process.returncode == 0
        assert termios.tcgetattr(terminal.child) == terminal.before
        assert terminal.raw.endswith("\x1b[?1049l")
    finally:
        terminal.close()


def test_once_reports_that_no_server_answers() -> None:
    port = free_port()
    printed = once(port)
    assert printed.returncode == 1
    expected = f"crowdstream top: no server at 127.0.0.1:{port}: no program listens on that port\n"
    assert (printed.stdout, printed.stderr) == ("", expected)


def test_without_a_terminal_the_error_suggests_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert top([]) == 2
    assert "--once" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--port", "0"], ["--rate", "99"], ["--what"], ["deck"]])
def test_a_wrong_option_is_reported_in_one_line(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        top(wrong)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_terminal_input_is_split_into_keys() -> None:
    assert list(split("q\x1b[A \x1bOBx")) == ["q", "\x1b[A", " ", "\x1bOB", "x"]
