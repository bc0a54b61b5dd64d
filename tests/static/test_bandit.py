"""bandit reports no issue, and each suppression states its reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.environment import PROJECT

SCANNED = ("crowdstream", "examples", "benchmarks", "contrib", "audio_server.py")


def bandit(*arguments: str) -> dict[str, Any]:
    command = [
        sys.executable, "-P", "-m", "bandit", "--quiet", "--format", "json",
        "--configfile", str(PROJECT / "pyproject.toml"), *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_bandit_reports_nothing() -> None:
    report = bandit("--recursive", *SCANNED)
    assert report["metrics"]["_totals"]["loc"] > 15_000, "bandit read all the code"
    assert not report["errors"]
    assert not [
        f"{found['filename']}:{found['line_number']}: {found['test_id']} {found['issue_text']}"
        for found in report["results"]
    ]


def test_bandit_is_configured_to_report_unsafe_code(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import os, pickle, subprocess, yaml, tempfile, hashlib\n"
        "os.system(x)\npickle.loads(x)\nsubprocess.run(x, shell=True)\nyaml.load(x)\n"
        "tempfile.mktemp()\nhashlib.md5(x)\nexec(x)\n"
    )
    found = {result["test_id"] for result in bandit(str(tmp_path / "bad.py"))["results"]}
    assert {"B605", "B301", "B602", "B506", "B306", "B324", "B102"} <= found


def test_each_nosec_comment_names_its_rule_and_its_reason() -> None:
    for name in SCANNED:
        path = PROJECT / name
        for module in [path] if path.is_file() else path.rglob("*.py"):
            for line in module.read_text(encoding="utf-8").splitlines():
                if "# nosec" in line:
                    assert re.search(r"# nosec B\d{3}  # .{10,}", line), f"{module}: {line}"
