"""A real Icecast server for tests: a process with a configuration and a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.osc_client import until

PASSWORD = "pa:ss/w@rd"
QUOTED = "pa%3Ass%2Fw%40rd"
USER = "nobody"

_CONFIG = """<icecast>
  <hostname>localhost</hostname>
  <limits><clients>{clients}</clients><sources>{sources}</sources>
    <source-timeout>10</source-timeout><burst-size>65535</burst-size></limits>
  <authentication><source-password>{password}</source-password>
    <relay-password>x{password}</relay-password>
    <admin-user>admin</admin-user><admin-password>{password}</admin-password></authentication>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  {encrypted}
  <fileserve>1</fileserve>
  <paths><basedir>{folder}</basedir><logdir>{folder}</logdir>
    <webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot>
    <ssl-certificate>{folder}/server.pem</ssl-certificate></paths>
  <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog>
    <loglevel>3</loglevel></logging>
  <security><chroot>0</chroot></security>
</icecast>
"""
_ENCRYPTED = """<listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address>
    <ssl>1</ssl></listen-socket>"""


def find() -> str | None:
    """Return the path of icecast2, if it is installed."""
    return shutil.which("icecast2", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")


class Icecast:
    """One server on a free port. It refuses to run as root, so it then runs as `nobody`.

    `certificate`: a PEM file with certificate and key, with which it also listens on `tls_port`.
    """

    def __init__(
        self, folder: Path, clients: int = 100, sources: int = 2, certificate: Path | None = None
    ) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as found,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            self.port, self.tls_port = (int(one.getsockname()[1]) for one in (found, other))
        encrypted = ""
        if certificate is not None:
            encrypted = _ENCRYPTED.format(port=self.tls_port)
            shutil.copyfile(certificate, folder / "server.pem")
            (folder / "server.pem").chmod(0o644)  # of a test: another user reads it
        self._config = folder / "icecast.xml"
        self._config.write_text(
            _CONFIG.format(
                port=self.port, folder=folder, clients=clients, sources=sources,
                password=PASSWORD, encrypted=encrypted,
            )
        )
        self._root = os.geteuid() == 0
        # In a user namespace of one user, it runs in another one, where that user is not root.
        self._in_namespace = Path("/proc/self/uid_map").read_text().split()[2] == "1"
        if self._root and not self._in_namespace:
            os.chown(folder, pwd.getpwnam(USER).pw_uid, -1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = find()
        assert program is not None, "icecast2 is not installed"
        identity: dict[str, Any] = {}
        command = [program, "-c", str(self._config)]
        if self._root and self._in_namespace:
            command = ["unshare", "--user", "--map-user=65534", "--map-group=65534", *command]
        elif self._root:
            identity = {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []}
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, **identity,
        )  # fmt: skip
        until(self._answers)

    @property
    def pid(self) -> int:
        """Its process ID."""
        assert self._process is not None
        return self._process.pid

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"icecast2 has ended: {self._log()}"
        with contextlib.suppress(OSError):
            return bool(self.status())
        return False

    def _log(self) -> str:
        log = self._config.with_name("error.log")
        return log.read_text() if log.exists() else "no log"

    def status(self) -> str:
        """Return its status as JSON text: mounts, titles, listeners."""
        url = f"http://127.0.0.1:{self.port}/status-json.xsl"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text: str = answer.read().decode("utf-8", "replace")
        return text

    def url(self, mount: str, password: str = QUOTED) -> str:
        """Return the target of a broadcast to a mount."""
        return f"icecast://source:{password}@127.0.0.1:{self.port}/{mount}"

    def tls_url(self, mount: str) -> str:
        """Return the target of an encrypted broadcast to a mount."""
        return f"icecast+tls://source:{QUOTED}@127.0.0.1:{self.tls_port}/{mount}"

    def listen_url(self, mount: str) -> str:
        """Return the address for listeners."""
        return f"http://127.0.0.1:{self.port}/{mount}"

    def suspend(self) -> None:
        """Stop it from reading and answering, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def icecast(
    clients: int = 100, sources: int = 2, certificate: Path | None = None
) -> Iterator[Icecast]:
    """Run a server for a `with` block."""
    # Not in the folder of the test run, which no other user may enter.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        running = Icecast(Path(folder), clients, sources, certificate)
        running.start()
        try:
            yield running
        finally:
            running.stop()
