"""A newcomer's first hour: the demo in a clean clone with an empty home, then an effect.

The other of the README's two commands is what runs this. These are the only tests that install for
real: what they need comes through the network, in the way that this machine's own settings for pip
say. The clone has one effect more than the project, so the compilation that a first start makes
also shows that adding an effect is adding a file. It has the compiled parts of this run's kernels,
as after an update, and compiles what the effect changes: the run itself begins with compiling
everything (`run-tests.sh`). Its demo has shorter tracks, which are made sooner.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from contrib.soundcard import no_card
from crowdstream.engine.jit import kernel_cache
from crowdstream.system.private_dirs import create_private_folder
from tests.support.environment import PROJECT

INSTALLING = "checking what is missing"
UNREACHABLE = re.compile(r"NewConnectionError|name resolution|Network is unreachable")
STATUS_LINE = re.compile(r"A(▕|\[).* B(▕|\[).*BPM +CPU \d+% +underruns \d+")

BARS = "    bars: int = 8\n"  # of a section of the demo's tracks

HALVE = '''
"""Halve: half as loud."""

from crowdstream.desk.effects import ROW_FIRST, Module, Parameter

MODULE = Module("halve", "Half as loud.", (Parameter("share", "what is left", 0, 1, 0.5),))


def _times(x, share):
    return x * share


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """No state."""
    for i in range(count):
        left[i] = _times(left[i], values[ROW_FIRST, i])
        right[i] = _times(right[i], values[ROW_FIRST, i])
'''

USE_HALVE = """
import sys
from pathlib import Path
from crowdstream.control.osc_reference import osc_pages
assert "numba" not in sys.modules, "control has no use for numba"
text = osc_pages()["effects.md"]
assert "### `halve`" in text and "what is left" in text
from tests.support.offline_server import Rig, level, playing, write
rig = Rig()
file = write(Path(sys.argv[1]) / "steady.wav", level(2))
playing(rig, str(file))
rig.send("/fx/modules")
assert ("halve", "share", 0.0, 1.0, 0.5, "", "what is left") in rig.heard("/fx/modules.reply")
rig.send("/deck/A/fx/insert", 1, "halve")
rig.run(1024)
assert rig.out[-1].tolist() == [0.125, 0.125], rig.out[-1]
rig.send("/deck/A/fx/set", 1, "share", 0.25)
rig.send("/deck/A/fx/insert", 2, "reverb", "mix", 0)
rig.run(2048)
assert rig.out[-1].tolist() == [0.0625, 0.0625], rig.out[-1]
assert not rig.fails()
rig.close()
"""

pytestmark = pytest.mark.timeout(1800)


@dataclass
class Clone:
    """A clone, the environment of who made it, and what the first demo printed."""

    folder: Path
    env: dict[str, str]
    first: subprocess.CompletedProcess[str]


def newcomer(home: Path) -> dict[str, str]:
    """The environment of somebody who has just logged in, on a machine without a sound card."""
    ours = ("VIRTUAL_ENV", "CROWDSTREAM_", "AUDIO_", "PYTHON", "PYTEST", "NUMBA_", "XDG_", "COV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    pip = Path.home() / ".config" / "pip" / "pip.conf"
    if pip.exists():
        # The package index is the machine's matter: without it a mirror's user gets nowhere.
        env.setdefault("PIP_CONFIG_FILE", str(pip))
    # What the project's own installation has downloaded and built is used again, and only modules
    # that are imported are compiled to bytecode.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    env.setdefault("PIP_CACHE_DIR", str(cache / "pip"))
    env["PIP_COMPILE"] = "0"
    # The cards are hidden, so the built-in clock is used everywhere. The mark stays, by which
    # what a run leaves behind is found.
    mark = {name: os.environ[name] for name in ("CROWDSTREAM_TEST_RUN",) if name in os.environ}
    return {**env, **no_card(home), **mark, "HOME": str(home)}


def run(folder: Path, env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of a clone from within it; output and errors come back as one text."""
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
    return run(folder, env, "./start-crowdstream.sh", "--demo", "--duration", "3")


def commit(folder: Path, env: dict[str, str], path: Path, subject: str) -> None:
    """Commit a file of the clone, as somebody without a name."""
    who = ("-c", "user.name=newcomer", "-c", "user.email=newcomer@localhost")
    for command in (("add", str(path)), ("commit", "--quiet", "-m", subject)):
        done = run(folder, env, "git", *who, *command)
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("newcomer")
    home = folder / "home"
    home.mkdir()
    env = newcomer(home)
    project = folder / "crowdstream"
    cloned = run(folder, env, "git", "clone", "--quiet", str(PROJECT), str(project))
    assert cloned.returncode == 0, cloned.stdout
    effect = project / "crowdstream" / "effects" / "halve.py"
    effect.write_text(HALVE.lstrip(), encoding="utf-8")
    commit(project, env, effect, "effects: add halve")
    songs = project / "crowdstream" / "demo" / "songs.py"
    text = songs.read_text(encoding="utf-8")
    assert text.count(BARS) == 1
    songs.write_text(text.replace(BARS, "    bars: int = 3\n"), encoding="utf-8")
    commit(project, env, songs, "demo: shorten the tracks")
    kernels = create_private_folder(home, ".cache", "crowdstream", "kernels")
    unfinished = shutil.ignore_patterns("*.*")
    shutil.copytree(kernel_cache.parts_folder(), kernels / "parts", ignore=unfinished)
    made = Clone(project, env, demo(project, env))
    if made.first.returncode and UNREACHABLE.search(made.first.stdout):
        pytest.fail(
            "the package index can't be reached, so nothing was installed; without a network, "
            "name the other tiers: ./run-tests.sh static unit integration browser fuzz",
            pytrace=False,
        )
    return made


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


def test_an_effect_that_is_a_new_file_is_found_documented_and_runs(
    clone: Clone, tmp_path: Path
) -> None:
    done = run(clone.folder, clone.env, ".venv/bin/python", "-c", USE_HALVE,
               str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


def test_nothing_is_left_that_git_would_see(clone: Clone) -> None:
    changes = run(clone.folder, clone.env, "git", "status", "--porcelain")
    assert changes.stdout == ""
