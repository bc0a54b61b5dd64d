"""The environment of the server's child processes, without its secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
SECRETS = frozenset({"CROWDSTREAM_HTTP_TOKEN"})
"""Variables needed only by the process that reads the settings."""


def child_environment(given: Mapping[str, str] | None = None, /, **more: str) -> dict[str, str]:
    """Copy `given`, or this process's environment, with `more` added, for a child process.

    The child finds this package wherever it is started. Children often decode untrusted files,
    so they don't receive the token of the page.
    """
    environment = dict(os.environ if given is None else given)
    for name in SECRETS:
        environment.pop(name, None)
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(PROJECT) + (os.pathsep + path if path else "")
    return {**environment, **more}
