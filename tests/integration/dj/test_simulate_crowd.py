"""The tempo of a running server follows the simulated crowd."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from crowdstream.settings.files import PRESETS
from tests.support.environment import PROJECT, bare_environment
from tests.support.server import server, until


def test_a_crowd_moves_the_tempo_of_a_server_without_a_dj(tmp_path: Path) -> None:
    movement = ("--movement-map", str(PRESETS / "crowd.toml"))
    with server(tmp_path, "--driver", "null", "--standby", "off", *movement) as running:
        running.client.send("/test_tone")
        command = [sys.executable, "-P", "-m", "crowdstream", "simulate-crowd", "--port",
                   str(running.port), "--duration", "60", "--speed", "200"]  # fmt: skip
        with subprocess.Popen(command, cwd=PROJECT, env=bare_environment()) as crowd:
            try:
                until(lambda: running.client.status()["movement"] > 0.0)
                until(lambda: running.client.status()["bpm"] != 120.0)
            finally:
                crowd.terminate()
        assert crowd.returncode == 0
        assert running.client.status()["failed"] == 0
