"""Ableton's own example program and a server, by what can be heard of both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.environment import PROJECT, child_environment
from tests.support.link_hut import TOLERANCE_MS

SECONDS = 900.0


def test_audioengine_1_a_synced_deck_clicks_together_with_linkhut(tmp_path: Path) -> None:
    command = ["unshare", "-rn", sys.executable, "-P", "-m", "tests.support.link_hut"]
    with subprocess.Popen(
        [*command, str(tmp_path)], cwd=PROJECT, text=True, env=child_environment(),
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, error = process.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # LinkHut, JACK and the server, too
            raise
    assert process.returncode == 0, f"{out}\n{error}"
    found = json.loads(out.splitlines()[-1])
    for name, bpm in (("same", 120.0), ("faster", 124.0), ("slower", 112.0)):
        assert found[name]["bpm"] == bpm
        assert found[name]["clicks"] >= 15
        assert abs(found[name]["median"]) < TOLERANCE_MS
    assert found["led"] == 125.0
    assert found["peers"] == 1
