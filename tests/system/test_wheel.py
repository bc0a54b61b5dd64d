"""The wheel, installed outside of the project: nothing that the program needs is missing from it.

The environment has the packages of the one that runs the tests, so nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import soundfile

from contrib.wheel import build, copy_sources
from crowdstream.engine.precompiled import ship
from crowdstream.settings.files import EXAMPLES, preset_names
from tests.support.drum_machine import RATE, chords, drums
from tests.support.environment import PROJECT, bare_environment
from tests.support.server import Running, launched, until

# A line of a .pth file: what is listed in such files of that folder is not read, so the project
# itself, which is installed there for editing, is not found by it.
PACKAGES = sysconfig.get_path("purelib")
OFFLINE = ("--no-build-isolation", "--no-index")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, a home without anything, and a folder to work in."""

    wheel: Path
    command: Path
    env: dict[str, str]
    folder: Path

    def run(self, *words: str | Path, status: int = 0) -> str:
        """What `crowdstream WORDS` prints, errors with it."""
        done = subprocess.run(
            [str(self.command), *map(str, words)], cwd=self.folder, env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("wheel")
    sources = place / "sources"
    sources.mkdir()
    ship(copy_sources(sources))
    wheel = build(sources, place / "dist", *OFFLINE)
    home, folder = place / "home", place / "elsewhere"
    home.mkdir()
    folder.mkdir()
    venv.create(place / "venv", with_pip=False)
    python = place / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (place / "venv" / "lib" / version / "site-packages" / "packages.pth").write_text(PACKAGES)
    env = bare_environment(PYTHONPATH=None, NUMBA_CACHE_DIR=None, HOME=str(home))
    return Installed(wheel, python.with_name("crowdstream"), env, folder)


@pytest.fixture(scope="module")
def music(installed: Installed) -> Path:
    """A folder of tracks that the installed program has analysed."""
    place = installed.folder / "music"
    place.mkdir()
    for bpm, root in ((124, 220.0), (126, 246.94), (128, 220.0)):
        beat, harmony = drums(bpm, 96.0), chords(bpm, 96.0, root)
        frames = min(len(beat), len(harmony))
        soundfile.write(
            place / f"{bpm}.wav", 0.4 * beat[:frames] + 0.3 * harmony[:frames], RATE
        )
    installed.run("analyze", "--quiet", "--jobs", "1", place)
    listed = installed.run("analyze", "--list", "--json", place).splitlines()
    assert [round(json.loads(line)["bpm"]) for line in listed] == [124, 126, 128]
    return place


def test_it_holds_what_the_project_holds(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = set(wheel.namelist())
        [info] = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        about = BytesParser().parsebytes(wheel.read(f"{info}/METADATA"))
        for file in (PROJECT / "configs").glob("*.toml"):
            assert wheel.read(f"crowdstream/configs/{file.name}") == file.read_bytes()
    tracked = subprocess.run(
        ["git", "ls-files", "crowdstream"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(tracked) > 400
    assert set(tracked) - {"crowdstream/configs"} <= names
    assert {name.partition("/")[0] for name in names} == {"crowdstream", "audio_server.py", info}
    assert any(name.endswith("/LICENSE") for name in names)
    assert about["Description-Content-Type"] == "text/markdown"
    assert str(about.get_payload()).startswith("# CrowdStream")
    assert about["License-Expression"] == "MIT" and about["Keywords"]
    supported = {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)}
    assert supported <= set(about.get_all("Classifier") or ())
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert about["Version"] == project["version"]


def test_it_is_itself_that_runs(installed: Installed) -> None:
    where = "import crowdstream, audio_server; print(crowdstream.__file__, audio_server.__file__)"
    done = subprocess.run(
        [str(installed.command.with_name("python")), "-c", where], cwd=installed.folder,
        env=installed.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for file in done.stdout.split():
        assert Path(file).is_relative_to(installed.command.parents[1])
    assert installed.run("--version").startswith("crowdstream ")


def test_its_kernels_need_no_compiler(installed: Installed) -> None:
    (installed.folder / "silence.txt").write_text("0 /clock/tempo 120\n", encoding="utf-8")
    program = (
        "import sys; from crowdstream.cli import main\n"
        "status = main(['render', 'silence.txt', 'silence.wav', '--quiet', '--duration', '1'])\n"
        "print(status, 'numba' in sys.modules)"
    )
    done = subprocess.run(
        [str(installed.command.with_name("python")), "-c", program], cwd=installed.folder,
        env=installed.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0", "False"], done.stderr


def test_it_brings_the_demo(installed: Installed) -> None:
    assert "--tracks-only" in installed.run("demo", "--help")


def test_its_presets_are_there(installed: Installed) -> None:
    names = preset_names()
    assert len(names) > 4
    for name in names:
        shown = installed.run("serve", "--preset", name, "--show-config")
        assert f"# preset {name}" in shown
    assert ", ".join(names) in installed.run("serve", "--preset", "pi9", status=2)


@pytest.mark.parametrize("name", sorted(EXAMPLES - {"example"}))
def test_its_movement_maps_are_there(installed: Installed, name: str) -> None:
    place = installed.command.parents[1]
    [found] = place.glob(f"lib/*/site-packages/crowdstream/configs/{name}.toml")
    shown = installed.run("serve", "--movement-map", found, "--show-config")
    assert str(found) in shown


def test_sets_are_planned_and_rendered(installed: Installed, music: Path) -> None:
    planned = installed.folder / "night.toml"
    installed.run("plan", "--minutes", "3", "-o", planned, music)
    assert planned.with_suffix(".svg").is_file()
    out = installed.folder / "night.wav"
    installed.run("render", "--quiet", "--duration", "8", planned, out)
    sound, rate = soundfile.read(out)
    assert len(sound) == 8 * rate and abs(sound).max() > 0.05


def processes(running: Running) -> Sequence[str]:
    """The command lines of the server's processes."""
    return [" ".join(child.cmdline()) for child in running.children()]


def test_it_serves_the_page_and_the_dj_plays_by_its_own_map(
    installed: Installed, music: Path, tmp_path: Path
) -> None:
    program = (str(installed.command), "serve")
    options = ("--driver", "null", "--preset", "desktop", "--http")
    env = dict.fromkeys(os.environ, "") | installed.env
    with launched(tmp_path, options, env, program=program) as (process, log):
        running = Running(process, log)
        assert all(str(PROJECT) not in line for line in processes(running))
        page = running.page()
        # Without a browser's Accept the same address is that of OSCQuery.
        with urlopen(Request(page, headers={"Accept": "text/html"})) as answer:
            html = answer.read().decode()
        assert "CrowdStream" in html
        scripts = {word.split('"')[0] for word in html.split('src="')[1:]}
        assert scripts
        for script in scripts:
            with urlopen(f"{page}/{script.lstrip('/')}") as answer:
                assert answer.status == 200 and answer.read()
        dj = [str(installed.command), "dj", "--no-analysis", "--port", str(running.port)]
        with subprocess.Popen(
            [*dj, str(music), "--with", str(os.getpid())], env=installed.env, cwd=installed.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as beside:  # fmt: skip
            until(lambda: "playing" in running.client.status().values())
            assert beside.poll() is None
            beside.terminate()
            said, _ = beside.communicate()
        assert beside.returncode == 0, said
        running.client.close()
