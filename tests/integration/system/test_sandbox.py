"""Restrictions of the loader and the waveform process, and the access that they keep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crowdstream.system import sandbox
from tests.support.environment import PROJECT, child_environment
from tests.support.offline_server import count, write
from tests.support.server import server

NULL = ("--driver", "null", "--cache-mb", "64", "--standby", "off")

TRY = """
import json, os, socket, subprocess, sys, tempfile
from pathlib import Path
from crowdstream.system.sandbox import confine
home, roots = Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]]
report = confine(roots, [home / "cache"])

def can(action):
    try:
        action()
    except OSError:
        return False
    return True

child = [sys.executable, "-c", "import socket; socket.socket()"]
(late := home / "Music" / "late.wav").exists()
print(json.dumps({
    "network": report.network, "files": report.files,
    "tcp": can(socket.socket), "udp": can(lambda: socket.socket(type=socket.SOCK_DGRAM)),
    "ipv6": can(lambda: socket.socket(socket.AF_INET6)), "local": can(socket.socketpair),
    "child": subprocess.run(child, stderr=subprocess.DEVNULL).returncode == 0,
    "secret": can(lambda: (home / "secret").read_text()),
    "music": can(lambda: (home / "Music" / "a.wav").read_bytes()),
    "write": can(lambda: (home / "Music" / "b.wav").write_bytes(b"")),
    "cache": can(lambda: (home / "cache" / "x").write_bytes(b"")),
    "temporary": can(tempfile.TemporaryFile), "system": can(lambda: open("/etc/passwd")),
}))
"""


def tried(home: Path, *roots: Path) -> dict[str, Any]:
    """The access that a sandboxed process has."""
    # The folder for temporary files is writable, and must differ from the home folder.
    temporary = home.with_name("temporary")
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-P", "-c", TRY, str(home), *map(str, roots)], cwd=PROJECT, text=True,
        env=child_environment(HOME=str(home), PYTHONPATH=str(PROJECT), TMPDIR=str(temporary)),
        capture_output=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    (made / "Music").mkdir(parents=True)
    (made / "Music" / "a.wav").write_bytes(b"music")
    (made / "secret").write_text("secret")
    (tmp_path / "another way").symlink_to(made)
    return made


def test_the_sandbox_restricts_network_reading_and_writing(home: Path) -> None:
    closed, everywhere = tried(home, home / "Music"), tried(home)
    report = sandbox.available()
    for found in (closed, everywhere):
        assert (found["network"], found["files"]) == (report.network, report.files)
        for name in ("tcp", "udp", "ipv6", "child"):
            assert found[name] is not report.network, name
        assert found["local"] and found["music"] and found["cache"]
        assert found["temporary"] and found["system"]
        assert found["write"] is not report.files
    assert closed["secret"] is not report.files
    assert everywhere["secret"], "without media folders any file may be played"


def confined(pid: int) -> bool:
    """Whether a system call filter applies to a process."""
    return "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()


def test_the_sandboxed_loader_plays_files_added_later(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    with server(tmp_path, *NULL, "--media-root", str(media)) as running:
        loader = running.child_named("loader")
        track = str(write(media / "late.wav", count(2)))
        running.client.request("/deck/A/load", track, answer="/done", seconds=60)
        assert confined(loader.pid) is sandbox.available().network
        assert not confined(running.child_named("engine").pid)
