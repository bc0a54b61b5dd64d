"""The demo's ports: the defaults, where `crowdstream top` looks; otherwise free ones."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from crowdstream.demo.server import choose_port, page_options
from crowdstream.settings import Settings
from crowdstream.system.port_holders import is_free
from crowdstream.top.cli import build_parser as top_parser


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("CROWDSTREAM_")]:
        monkeypatch.delenv(name)


def everything_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowdstream.demo.server.is_free", lambda *_: True)


def test_the_demo_uses_the_default_port_of_top(monkeypatch: pytest.MonkeyPatch) -> None:
    everything_free(monkeypatch)
    lines: list[str] = []
    assert choose_port(lines.append) == top_parser().parse_args([]).port == Settings().port
    assert page_options([], lines.append) == [] == lines


def test_a_used_port_is_reported_with_the_process_and_the_new_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        monkeypatch.setenv("CROWDSTREAM_PORT", str(number))
        port = choose_port(lines.append)
    [line] = lines
    assert f"UDP port {number} is in use by process {os.getpid()} (" in line
    assert line.endswith(f"--port {port}") and port != number and is_free("udp", "127.0.0.1", port)


def test_the_page_uses_a_free_port_if_its_default_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        monkeypatch.setenv("CROWDSTREAM_HTTP_PORT", str(number))
        flag, port = page_options(["--driver", "null"], lines.append)
        for chosen in ("--http-port=1234", "--no-http", "--http-host"):
            assert page_options([chosen], lines.append) == []
    [line] = lines
    assert f"TCP port {number} is in use by process {os.getpid()} (" in line
    assert (flag, [port]) == ("--http-port", re.findall(r"the page is on (\d+)", line))


def test_the_users_settings_apply(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    everything_free(monkeypatch)
    (tmp_path / "crowdstream").mkdir()
    config = tmp_path / "crowdstream" / "config.toml"
    config.write_text("port = 57140\n")
    assert choose_port(pytest.fail) == 57140
    config.write_text("port = 0\n")
    assert 0 < choose_port(pytest.fail) < 65536
    config.write_text("nonsense = 1\n")  # the server reports the error
    assert choose_port(pytest.fail) == Settings().port
