"""`crowdstream upgrade`: hand a running server over to another version while it plays."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crowdstream.settings.errors import Parser
from crowdstream.supervisor.upgrade import (
    MAX_MESSAGE_BYTES,
    MAX_TRIAL_SECONDS,
    MIN_TRIAL_SECONDS,
    TRIAL_SECONDS,
    address_of,
    peer_of,
)
from crowdstream.system.installation import Installation
from crowdstream.system.text import printable
from crowdstream.upgrade.candidate import BadCandidate, Server, Wheel, check, find, install

HELLO_SECONDS = 10.0  # for the supervisor's first message
WRONG_INPUT = 2
FAILED = 1


class NoServer(Exception):
    """There is no server that can be upgraded; the message names the reason and the remedy."""


def build_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream upgrade`."""
    parser = Parser(
        prog="crowdstream upgrade",
        description="Hand a running server over to another installation while it plays.",
        epilog="See docs/how-to/upgrade-and-backup.md.",
    )
    add = parser.add_argument
    add("path", metavar="PATH", type=Path,
        help="a checkout or an environment beside the running one, or a wheel (*.whl)")  # fmt: skip
    add("--port", type=int, default=57120, help="OSC port of the server (%(default)s)")
    add("--python", type=Path, metavar="FILE",
        help="the executable that runs a checkout (PATH/.venv/bin/python)")  # fmt: skip
    add("--into", type=Path, metavar="FOLDER",
        help="where to install a wheel (beside the running installation)")  # fmt: skip
    add("--wheels", type=Path, metavar="FOLDER",
        help="install the packages that a wheel needs from this folder")  # fmt: skip
    add("--trial", type=float, metavar="SECONDS", default=TRIAL_SECONDS,
        help="how long the previous version stands by (%(default)g)")  # fmt: skip
    add("--check", action="store_true", help="check PATH and change nothing on the server")
    add("--allow-older", action="store_true", help="accept an older version")
    add("--now", action="store_true",
        help="interrupt the sound if the change can't be made without")  # fmt: skip
    return parser


def connect(port: int) -> tuple[socket.socket, Server]:
    """Connect to the supervisor of the server with this OSC port. Raises `NoServer`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(HELLO_SECONDS)
    try:
        connection.connect(address_of(port))
        _pid, user, group = peer_of(connection)
        hello = json.loads(connection.recv(MAX_MESSAGE_BYTES))
    except (OSError, ValueError):
        connection.close()
        raise NoServer(
            f"no server that can be upgraded has OSC port {port} on this machine: start it with "
            "`crowdstream serve`, or name its port with --port"
        ) from None
    if "refused" in hello:
        connection.close()
        raise NoServer(hello["refused"])
    try:
        return connection, Server.of(hello, (user, group))
    except (KeyError, TypeError, ValueError):
        connection.close()
        raise NoServer(f"the program behind OSC port {port} is not a CrowdStream server") from None


def upgrade(arguments: Sequence[str]) -> int:
    """Run `crowdstream upgrade` and return its exit status.

    2: PATH can't be upgraded to; 1: there is no server, or the new version failed and the previous
    one plays.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not MIN_TRIAL_SECONDS <= options.trial <= MAX_TRIAL_SECONDS:
        parser.error(
            f"--trial: must be {MIN_TRIAL_SECONDS:g} to {MAX_TRIAL_SECONDS:g}, not "
            f"{options.trial:g}"
        )
    try:
        connection, server = connect(options.port)
        with connection:
            if server.busy:
                raise NoServer(server.busy)
            target, live = _prepare(options, server)
            how = "while it plays" if live else "by a restart at a silent moment"
            _say(f"version {target.version} can replace {server.running.version} {how}")
            if options.check:
                return 0
            request = {
                "installation": target, "live": live, "now": options.now, "trial": options.trial,
            }  # fmt: skip
            connection.send(json.dumps({"upgrade": request}).encode())
            return _follow(connection, server, target)
    except BadCandidate as error:
        print(f"crowdstream upgrade: {error}", file=sys.stderr)
        return WRONG_INPUT
    except NoServer as error:
        print(f"crowdstream upgrade: {error}", file=sys.stderr)
        return FAILED


def _prepare(options: argparse.Namespace, server: Server) -> tuple[Installation, bool]:
    path: Path = options.path.expanduser()
    if path.suffix == ".whl" or path.is_file():
        wheel = Wheel.read(path)
        pip = ("--no-index", "--find-links", str(options.wheels)) if options.wheels else ()
        path = install(wheel, server, options.into, _say, pip)
    return check(find(path, options.python), server, _say, options.allow_older)


def _say(text: str) -> None:
    print(text, flush=True)


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    connection.settimeout(None)
    while data := connection.recv(MAX_MESSAGE_BYTES):
        yield json.loads(data)


def _follow(connection: socket.socket, server: Server, target: Installation) -> int:
    try:
        for message in _messages(connection):
            if "refused" in message:
                raise NoServer(message["refused"])
            if "text" in message:
                _say(message["text"])
            elif "failed" in message:
                print(
                    f"crowdstream upgrade: version {target.version} has failed: "
                    f"{printable(message['failed'])}; version {message['running'][2]} plays on",
                    file=sys.stderr,
                )
                return FAILED
            elif "done" in message:
                _say(f"upgraded to version {target.version}")
                _say(_next_start(server, target))
                return 0
    except KeyboardInterrupt:
        _say("the upgrade continues without this program; `crowdstream top` shows its end")
        return FAILED
    except OSError:
        pass
    raise NoServer("the server has ended")


def _next_start(server: Server, target: Installation) -> str:
    # An upgrade does not change what starts the server the next time.
    if server.started.root == target.root:
        return f"the next start uses this version, too: {printable(target.root)}"
    if server.service:
        return (
            f"the service still starts {printable(server.started.root)} at the next boot: replace "
            f"that path by {printable(target.root)} in its unit (systemctl cat crowdstream), then "
            "run systemctl daemon-reload, which does not restart it"
        )
    return (
        f"the server was started from {printable(server.started.root)}: from now on, start it from "
        f"{printable(target.root)}"
    )
