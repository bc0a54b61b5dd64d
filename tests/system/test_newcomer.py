"""The newcomer's demo, in a clean clone of the last commit with an empty home.

The other of the two commands is what runs this. The only tests that install for real: what they
need comes through the network, in the way that this machine's own settings for pip say.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from contrib.soundcard import no_card
from tests.support.environment import PROJECT

INSTALLING = "checking what is missing"
STATUS_LINE = re.compile(r"A(▕|\[).* B(▕|\[).*BPM +CPU \d+% +underruns \d+")

pytestmark = [pytest.mark.exclusive, pytest.mark.timeout(1800)]


@dataclass
class Clone:
    """A clone, the environment of who made it, and what the first demo printed."""

    folder: Path
    env: dict[str, str]
    first: subprocess.CompletedProcess[str]


def newcomer(home: Path) -> dict[str, str]:
    """The environment of somebody who has just logged in, on a machine without a sound card."""
    ours = ("VIRTUAL_ENV", "CROWDSTREAM_", "AUDIO_", "PYTHON", "PYTEST", "NUMBA_", "XDG_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    pip = Path.home() / ".config" / "pip" / "pip.conf"
    if pip.exists():
        # The package index is the machine's matter: without it a mirror's user gets nowhere.
        env.setdefault("PIP_CONFIG_FILE", str(pip))
    # Hidden, so that the built-in clock is used everywhere and nobody has to listen.
    return {**env, **no_card(home), "HOME": str(home)}


def run(folder: Path, env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a clone from within it; output and errors come back as one text."""
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )


def demo(folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(folder, env, "./start-crowdstream.sh", "--demo", "--seconds", "8")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("newcomer")
    home = folder / "home"
    home.mkdir()
    env = newcomer(home)
    project = folder / "crowdstream"
    cloned = run(folder, env, "git", "clone", "--quiet", str(PROJECT), str(project))
    assert cloned.returncode == 0, cloned.stdout
    return Clone(project, env, demo(project, env))


def test_the_demo_installs_and_plays(clone: Clone) -> None:
    output = clone.first.stdout
    assert clone.first.returncode == 0, output
    assert INSTALLING in output
    assert "built-in clock" in output
    assert STATUS_LINE.search(output), output


def test_the_second_demo_installs_nothing(clone: Clone) -> None:
    stamp = clone.folder / ".venv" / ".installed-server"
    before = stamp.stat().st_mtime_ns
    again = demo(clone.folder, clone.env)
    assert again.returncode == 0, again.stdout
    assert INSTALLING not in again.stdout
    assert stamp.stat().st_mtime_ns == before
    assert STATUS_LINE.search(again.stdout), again.stdout


def test_nothing_is_left_that_git_would_see(clone: Clone) -> None:
    changes = run(clone.folder, clone.env, "git", "status", "--porcelain")
    assert changes.stdout == ""
