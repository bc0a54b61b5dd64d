"""Killed processes of a server leave neither processes nor temporary files behind."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.server import server, until


@pytest.mark.parametrize("victim", ["control", "engine", "loader", "all"])
def test_a_kill_leaves_no_processes_and_temporary_files(tmp_path: Path, victim: str) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with server(tmp_path, "--driver", "null", env={"TMPDIR": str(temporary)}) as running:
        supervisor = psutil.Process(running.process.pid)
        processes = [supervisor, *running.children()]
        names = {"control": "audio_server", "engine": "engine.main", "loader": "loader.main"}
        # Read all of them before the first dies: others may end with it.
        lines = [" ".join(process.cmdline()) for process in processes]
        killed = [
            process
            for process, line in zip(processes, lines, strict=True)
            if victim == "all" or names[victim] in line
        ]
        for process in killed:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended with its parent
                process.send_signal(signal.SIGKILL)
        if victim in ("engine", "loader"):
            # The server restarts the missing processes.
            until(lambda: not any(one in running.children() for one in killed))
            until(lambda: len(running.children_named(names[victim].split(".")[0])) >= len(killed))
            processes += [one for one in running.children() if one not in processes]
            running.process.terminate()
        running.process.wait(60)
        _gone, alive = psutil.wait_procs(processes, 60)
        assert not alive
    assert os.listdir(temporary) == []
