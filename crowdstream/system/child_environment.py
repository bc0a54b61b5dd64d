"""The environment of the processes that the server starts: without its secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
SECRETS = frozenset({"CROWDSTREAM_HTTP_TOKEN"})
"""Variables that only the process that reads the settings needs."""


def child_environment(given: Mapping[str, str] | None = None, /, **more: str) -> dict[str, str]:
    """A copy of `given`, or of this process's environment, with `more`, for a child.

    It finds this package, wherever it is started. What it runs is often code that reads files of
    strangers: it does not learn what opens the page.
    """
    environment = dict(os.environ if given is None else given)
    for name in SECRETS:
        environment.pop(name, None)
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(PROJECT) + (os.pathsep + path if path else "")
    return {**environment, **more}
