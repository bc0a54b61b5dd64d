"""Run a module of the tests in a network namespace of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.environment import PROJECT, child_environment

SECONDS = 500.0  # the kernels may have to be compiled first


def run_in_namespace(module: str, folder: Path, *more: str) -> dict[str, Any]:
    """Run `main([folder, *more])` of a module; return the JSON object that it prints.

    Raises `AssertionError` with its output if it fails.
    """
    command = ["unshare", "-rn", sys.executable, "-P", "-m", module, str(folder), *more]
    with subprocess.Popen(
        command, cwd=PROJECT, text=True, env=child_environment(), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, error = process.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # the servers, too
            raise
    logs = "\n".join(path.read_text(errors="replace") for path in folder.glob("*.log"))
    assert process.returncode == 0, (
        "network namespaces are needed (unshare -rn, of util-linux; where user namespaces are "
        f"switched off, run this as root):\n{out}\n{error}\n{logs}"
    )
    result: dict[str, Any] = json.loads(out)
    return result
