"""Start a server to be measured."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.common import BenchmarkError
from contrib.soundcard import SoundCardError
from tests.support.osc_client import ServerError
from tests.support.server import Running, server

ERRORS = (BenchmarkError, ServerError, SoundCardError, OSError)
"""Errors that a benchmark reports in one line: the message gives the reason and the remedy."""


def free_tcp_port() -> int:
    """Return a free TCP port on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def live_server(
    *options: str, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[Running]:
    """Run a server without periodic statistics for a `with` block; `options`: its flags.

    `env`: environment variables that select a sound card. `folder`: for its log. The client
    raises `Refused` on a `/fail`. Ctrl-C ends the benchmark, which ends the server.
    """
    with contextlib.ExitStack() as stack:
        kept = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(
            server(kept, "--stats-interval", "0", *options, env=dict(env or {}), own_session=True)
        )
        running.client.strict = True
        yield running
