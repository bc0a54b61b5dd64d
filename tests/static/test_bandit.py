"""bandit reports no issue, and each suppression states its reason."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

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


CLEAN = "crowdstream/bandit"
"""Key in pytest's cache: files without an issue, as digest and number of lines."""


def digest(path: Path) -> str:
    """What bandit's verdict on a file depends on: its text, its name, the configuration."""
    name = str(path.relative_to(PROJECT)).encode()
    parts = [version("bandit").encode(), sys.version.encode(), name, path.read_bytes()]
    configuration = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    parts.append(configuration.partition("[tool.bandit]")[2].partition("\n[")[0].encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def test_bandit_reports_nothing(request: pytest.FixtureRequest) -> None:
    # It reads each file by itself, and takes ten seconds for all: like mypy, it reads what has
    # changed since it found nothing.
    cache = getattr(request.config, "cache", None)  # absent with -p no:cacheprovider
    known: dict[str, int] = cache.get(CLEAN, {}) if cache is not None else {}
    scanned = [PROJECT / name for name in SCANNED]
    files = [file for one in scanned for file in ([one] if one.is_file() else one.rglob("*.py"))]
    digests = {file: digest(file) for file in files}
    new = [str(file) for file in files if digests[file] not in known]
    report = bandit(*new) if new else {"errors": [], "results": [], "metrics": {}}
    assert not report["errors"]
    assert not [
        f"{found['filename']}:{found['line_number']}: {found['test_id']} {found['issue_text']}"
        for found in report["results"]
    ]
    for file in files:
        if str(file) in report["metrics"]:
            known[digests[file]] = report["metrics"][str(file)]["loc"]
    clean = {found: known[found] for found in digests.values()}
    assert sum(clean.values()) > 15_000, "bandit read all the code"
    if cache is not None:
        cache.set(CLEAN, clean)


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
