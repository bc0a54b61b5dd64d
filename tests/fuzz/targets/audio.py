"""Sound files with damaged headers, decoded in a child process: a crash of it is a fault."""

from __future__ import annotations

import atexit
import json
import select
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from tests.fuzz.audio_child import HEAD
from tests.fuzz.encoded_sounds import all_sounds
from tests.fuzz.registry import Fault, Target
from tests.support import scratch_files
from tests.support.environment import bare_environment

PATIENCE = 60.0  # seconds for a file of a few kilobytes on a busy machine; 0.01 is usual
ROOT = Path(__file__).parents[3]


class Decoder:
    """The child process; started on demand, and restarted after it has died."""

    def __init__(self) -> None:
        self.lines = False
        self.covered: set[int] = set()
        self.outcomes: dict[str, int] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            path = scratch_files.folder() / "sound"
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.fuzz.audio_child", str(path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                cwd=ROOT, env=bare_environment(),
            )  # fmt: skip
        return self._child

    def decode(self, data: bytes) -> None:
        """Raise `Fault` for a crash, a hang, too much memory or an undeclared error."""
        child = self._running()
        assert child.stdin and child.stdout
        try:
            child.stdin.write(HEAD.pack(len(data), self.lines) + data)
            child.stdin.flush()
            in_time = bool(select.select([child.stdout], [], [], PATIENCE)[0])
            line = child.stdout.readline() if in_time else b""
        except BrokenPipeError:
            in_time, line = True, b""
        if not line:
            code = self.close()
            raise Fault(f"crashed with {code}" if in_time else f"not decoded in {PATIENCE:g} s")
        answer: dict[str, Any] = json.loads(line)
        self.covered = set(answer["lines"])
        outcome = answer["error"] or "decoded"
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if answer["fault"]:
            raise Fault(answer["fault"])

    def close(self) -> int | None:
        """End the child and return its exit status."""
        child, self._child = self._child, None
        if child is None:
            return None
        try:
            code = child.wait(0.2)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        continue
        return code


DECODER = Decoder()
atexit.register(DECODER.close)

TARGET = Target(
    "audio",
    "a sound file is decoded or refused with one of the declared errors, by a process that "
    "neither crashes nor hangs nor uses more than 512 MB",
    DECODER.decode,
    all_sounds,
    (),
    longest=65536,
    covered=lambda: DECODER.covered,
)
