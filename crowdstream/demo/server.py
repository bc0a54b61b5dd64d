"""The server as a child process: start it, wait for it, end it, and report why it failed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from crowdstream.demo import status
from crowdstream.demo.osc import OscClient
from crowdstream.engine.jit.kernel_cache import StallTimeout
from crowdstream.settings import SettingError, Settings, resolve
from crowdstream.system.port_holders import free_port, in_use_by, is_free
from crowdstream.system.process import child_environment

READY_TIMEOUT = 60.0  # without any progress: the very first start compiles the kernels
END_TIMEOUT = 0.8
MAX_REASON = 300


class ServerError(Exception):
    """The server did not start, or ended unexpectedly; the message gives the reason."""


def choose_port(notify: Callable[[str], None]) -> int:
    """Return the OSC port for a server without `--port`: the default, so that all programs find it.

    If another program uses the default port, a free port is returned and `notify` receives a line.
    """
    settings = _defaults()
    port = settings.port
    if not port or is_free("udp", settings.osc_host, port):
        return port or free_port("udp")
    other = free_port("udp")
    notify(
        f"UDP port {port} is {in_use_by('udp', port)}; the demo uses {other}: start other programs "
        f"with --port {other}"
    )
    return other


def page_options(options: Sequence[str], notify: Callable[[str], None]) -> list[str]:
    """Return options for the page's port in addition to `options`: none, unless it is in use.

    If another program uses the default port, the options name a free port and `notify` receives a
    line.
    """
    if any(one.partition("=")[0] in ("--http-port", "--http-host", "--no-http") for one in options):
        return []
    settings = _defaults()
    port = settings.http_port
    if not settings.http or not port or is_free("tcp", settings.http_host, port):
        return []
    other = free_port("tcp")
    notify(f"TCP port {port} is {in_use_by('tcp', port)}; the page is on {other}")
    return ["--http-port", str(other)]


def _defaults() -> Settings:
    # From the environment and the user's file. The server itself reports errors in them.
    try:
        return resolve((), os.environ).settings
    except SettingError:
        return Settings()


def command_for(port: int, options: Sequence[str]) -> list[str]:
    """Return the command line of a server on `port`, run by this Python."""
    return [sys.executable, "-P", "-m", "crowdstream", "serve", "--port", str(port), *options]


def last_words(log: Path) -> str:
    """Return the line of a log that most likely explains why its program ended."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line for line in lines[-20:] if "error" in line.lower()]
    words = (errors or lines or ["it printed nothing"])[-1]
    return words[:MAX_REASON]


class ServerProcess:
    """A running server. `stop` it in all cases; use ``with``."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as sink:
            # A new session: Ctrl-C in the terminal reaches only the demo, which then shuts the
            # server down; and the server's child processes can be ended with it.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": child_environment()["PYTHONPATH"]},
                start_new_session=True,
            )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise `ServerError` if the server has ended."""
        code = self._process.poll()
        if code is not None:
            raise ServerError(
                f"the server ended (status {code}): {last_words(self.log)} (log: {self.log})"
            )

    def wait_ready(
        self, client: OscClient, waiting: Callable[[str], None], timeout: float = READY_TIMEOUT
    ) -> status.Status:
        """Poll the status until the server answers; `waiting` receives progress lines meanwhile.

        Raises `ServerError` if the server ends, or makes no progress for `timeout` seconds.
        """
        patience = StallTimeout(timeout)
        while not patience.expired():
            self.check()
            if news := patience.progress_line():
                waiting(news)
            client.send("/status")
            for answer in client.receive(0.2):
                if answer.address == "/status.reply":
                    return status.parse(answer.arguments)
        raise ServerError(
            f"the server does not answer, and made no progress for {timeout:.0f} s: "
            f"{last_words(self.log)} "
            f"(log: {self.log})"
        )

    def page(self) -> str:
        """Return the log line about the page; empty until the page is served, or without one."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        served = re.search(r"page on \S+|no web page: .*", text)
        invited = re.search(r"^the page, with .*(\n  \S+)+", text, re.MULTILINE)
        found = invited or served
        return found.group(0) if found else ""

    def stop(self) -> None:
        """End the server and its child processes: by SIGINT, and by SIGKILL after 0.8 s."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._end_group()
                self._process.wait()
        else:
            self._process.wait()
        # Children of a crashed server would keep the sound device open.
        self._end_group()

    def _end_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
