"""`crowdstream doctor` as a program."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.environment import PROJECT, child_environment


def test_the_program_reports_in_json() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crowdstream", "doctor", "--json", "--driver", "null",
         "--port", "0"],
        cwd=PROJECT, env=child_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert done.returncode == {"ok": 0, "warn": 1, "fail": 3}[report["state"]]
    for check in report["checks"]:
        assert check["state"] in ("ok", "warn", "fail")
        assert set(check) == {"name", "state", "text", "fix", "data"}
