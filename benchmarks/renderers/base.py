"""The interface of the programs that render the scene."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks.scene import Scene

SCRIPTS = Path(__file__).resolve().parent / "scripts"
PYTHONS = "CROWDSTREAM_BENCH_PYTHONS"  # environment variable; paths as in PATH


class Renderer(ABC):
    """A program, used in one way.

    `name`: unique. `does`: its rate conversion, equaliser and limiter. `leaves_out`: parts of the
    scene that it does not render. `get`: how to install it. `summed`: whether the stems of a deck
    are added up before a single rate conversion.
    """

    name: str
    does: str
    leaves_out: str = ""
    get: str
    summed: bool = False

    @abstractmethod
    def version(self) -> str | None:
        """Return its version; None if it is not installed."""

    @abstractmethod
    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """Return the command that renders `scene` to the WAV file `out`, in float32.

        Files that the command needs are written to `folder`, its working directory.
        """

    def live_command(self, scene: Scene, folder: Path, frames: int) -> list[str] | None:
        """Return the command that plays `scene` on a JACK server whose period is `frames`.

        None: it cannot play live, or is not measured so.
        """
        return None

    def begin_live(self, scene: Scene) -> None:  # noqa: B027  (most need nothing)
        """Make the program that `live_command` has started play, if it does not by itself."""


@cache
def program_version(program: str, *flags: str, pattern: str) -> str | None:
    """Return what `pattern`'s group matches in a program's output; None if it cannot be run."""
    found = shutil.which(program)
    if found is None:
        return None
    try:
        said = subprocess.run(
            [found, *flags],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(pattern, said.stdout + said.stderr)
    return match[1] if match else "unknown version"


class Interpreters:
    """The Python interpreters in which a module may be installed."""

    def __init__(self, paths: Sequence[str] = ()) -> None:
        """`paths` are searched first, then those of $CROWDSTREAM_BENCH_PYTHONS, this
        interpreter, and every python3 on $PATH."""
        named = os.environ.get(PYTHONS, "").split(os.pathsep)
        others = [str(Path(folder) / "python3") for folder in os.get_exec_path()]
        every = [*paths, *filter(None, named), sys.executable, *others]
        self._paths = [path for path in dict.fromkeys(every) if shutil.which(path)]
        self._found: dict[str, tuple[str, str] | None] = {}

    def find(self, modules: str, version: str) -> tuple[str, str] | None:
        """Return the first interpreter that imports `modules`, and the value of `version`.

        `version` is an expression. Return None if no interpreter has the modules.
        """
        if modules not in self._found:
            tries = (_ask(path, f"import {modules}; print({version})") for path in self._paths)
            answers = zip(self._paths, tries, strict=True)
            self._found[modules] = next(
                ((path, answer) for path, answer in answers if answer is not None), None
            )
        return self._found[modules]


def _ask(python: str, code: str) -> str | None:
    try:
        said = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # The last line: a module may print a greeting first.
    return said.stdout.strip().splitlines()[-1] if said.returncode == 0 else None


class ScriptRenderer(Renderer):
    """A Python library, used by a script that receives the scene, the output path and flags."""

    modules: str
    version_of: str
    script: str

    def __init__(self, interpreters: Interpreters, flags: Sequence[str] = ()) -> None:
        self._interpreters = interpreters
        self._flags = list(flags)

    def version(self) -> str | None:
        """See `Renderer`."""
        found = self._interpreters.find(self.modules, self.version_of)
        return found[1] if found else None

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """See `Renderer`."""
        found = self._interpreters.find(self.modules, self.version_of)
        assert found is not None, f"{self.name} is not installed"
        (folder / "scene.json").write_text(scene.to_json())
        return [found[0], str(SCRIPTS / self.script), "scene.json", str(out), *self._flags]
