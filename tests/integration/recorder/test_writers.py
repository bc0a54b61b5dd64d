"""A file can be read after its writer was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environment import PROJECT, child_environment
from tests.support.recording import FORMATS, check, sound

_KILLED = """
import sys
from pathlib import Path
from crowdstream.recorder.writers import open_audio
from tests.support.recording import sound
frames = sound(200_000)
made = open_audio(Path(sys.argv[1]), 44100, 2, sys.argv[2])
for at in range(0, 200_000, 1000):
    made.write(frames[at : at + 1000])
    if at == 150_000:
        made.save()
    if at == 180_000:
        print("now", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize(("form", "extension"), FORMATS)
def test_the_file_of_a_killed_writer_is_readable(
    tmp_path: Path, form: str, extension: str
) -> None:
    path = tmp_path / f"a{extension}"
    writing = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(path), form],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=PROJECT, env=child_environment(),
    )  # fmt: skip
    with writing:
        assert writing.stdout and writing.stdout.readline() == b"now\n"
        os.kill(writing.pid, signal.SIGKILL)
    check(path, sound(200_000), form, 150_000 - 4096)
