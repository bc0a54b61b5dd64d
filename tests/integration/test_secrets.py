"""The token is visible neither to other users of the machine nor to processes that read files."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.environment import PROJECT
from tests.support.offline_server import count, write
from tests.support.server import server

TOKEN = "correct-horse-battery"
STARTS = {"Popen", "run", "create_subprocess_exec"}
OTHER_PROGRAMS = {"crowdstream/doctor/check.py"}  # system programs run for doctor


def test_the_token_is_in_no_process_arguments_and_only_in_controls_environment(
    tmp_path: Path,
) -> None:
    options = ("--http", "--driver", "null", "--cache-mb", "64", "--standby", "off")
    with server(tmp_path, *options, env={"CROWDSTREAM_HTTP_TOKEN": TOKEN}) as running:
        assert running.page()
        running.client.request(
            "/deck/A/load", str(write(tmp_path / "a.wav", count(1))), answer="/done", seconds=60
        )
        running.client.request("/record/start", str(tmp_path / "b.wav"), answer="/done", seconds=60)
        names = set()
        for child in running.children():
            line = child.cmdline()
            names.add(next((word for word in line if "crowdstream." in word), ""))
            assert TOKEN not in " ".join(line)
            environment = Path(f"/proc/{child.pid}/environ").read_bytes().decode()
            assert (TOKEN in environment) == ("crowdstream.control.main" in line)
    assert {"crowdstream.web.main", "crowdstream.loader.main"} <= names
    assert "crowdstream.recorder.main" in names


def test_child_processes_start_in_an_environment_without_secrets() -> None:
    found = 0
    for path in sorted((PROJECT / "crowdstream").rglob("*.py")):
        name = str(path.relative_to(PROJECT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            module = getattr(node.func.value, "id", "")
            if node.func.attr in STARTS and module in ("subprocess", "asyncio"):
                if node.func.attr == "run" and module == "asyncio":
                    continue
                given = [ast.unparse(one.value) for one in node.keywords if one.arg == "env"]
                clean = ("child_environment(", "without_secrets(")
                safe = [text for text in given if any(name in text for name in clean)]
                assert safe or name in OTHER_PROGRAMS, f"{name}:{node.lineno}"
                found += bool(safe)
    assert found >= 5
