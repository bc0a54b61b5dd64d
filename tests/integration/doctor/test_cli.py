"""`crowdstream doctor` as a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.environment import PROJECT, child_environment


def test_the_program_says_the_same_in_json() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crowdstream", "doctor", "--json", "--driver", "null",
         "--port", "0"],
        cwd=PROJECT, env=child_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert done.returncode == {"ok": 0, "warn": 1, "fail": 3}[said["state"]]
    for check in said["checks"]:
        assert check["state"] in ("ok", "warn", "fail")
        assert set(check) == {"name", "state", "text", "fix", "data"}
