"""Every shell command of README, tutorials and how-to guides does what its page says it does.

They run in a clean folder with an empty home and a network of their own, on the built-in clock,
with the environment and the kernels of this project. What is not run says why, in the page.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.demo.songs import SONGS, STEMS
from crowdstream.demo.tracks import MARKER, fingerprint
from crowdstream.engine.jit.kernel_cache import folder as kernel_folder
from tests.support.documented_commands import Block, blocks, script
from tests.support.environment import PROJECT, child_environment

TUTORIALS = ["first-mix", "your-own-music", "first-sequencer", "raspberry-pi"]  # in this order
PAGES = [
    PROJECT / "README.md",
    *(PROJECT / "docs" / "tutorials" / f"{name}.md" for name in TUTORIALS),
    *sorted((PROJECT / "docs" / "how-to").glob("*.md")),
]
ALL = {path.stem: blocks(path, path.stem) for path in PAGES}
OWN = [name for name, found in ALL.items() if any(one.kind == "runs until" for one in found)]
"""Pages that start servers."""
SECONDS = 500.0
RATE = 22050
_LIKE_A_COMMAND = re.compile(r"^ *(\./|sudo |\.venv/|crowdstream |python3? |podman |apt-get |pip )")


def track(folder: Path, hertz: float, stems: Sequence[str] = ("drums", "bass")) -> None:
    """Stems of 20 seconds at 120 beats a minute: a kick, and a tone for each of the others."""
    time = np.arange(20 * RATE) / RATE
    since_beat = time % 0.5
    folder.mkdir(parents=True)
    kick = 0.5 * np.sin(2 * np.pi * 55 * since_beat) * np.exp(-12 * since_beat)
    for number, name in enumerate(stems, 1):
        tone = 0.1 * np.sin(2 * np.pi * number * hertz * time)
        soundfile.write(folder / f"{name}.wav", kick if name == "drums" else tone, RATE)


def music(home: Path) -> None:
    """Some tracks, and short ones in place of those that the demo would take long to make."""
    for number, name in enumerate(("Night Drive", "Song", "Noon")):
        track(home / "Music" / "stems" / name, 98.0 * 1.12**number)
    demo = home / ".cache" / "crowdstream" / "demo" / "tracks"
    for number, song in enumerate(SONGS):
        track(demo / song.folder, 82.0 * 1.12**number, STEMS)
    (demo / MARKER).write_text(fingerprint() + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that a clone has, and the home of who works in it."""
    # A start script that had something to install would fail here, without a network, halfway.
    current = 'project=$1; . "$1/contrib/install.sh"; installed server "${server_files[@]}"'
    checked = subprocess.run(["bash", "-c", current, "-", str(PROJECT)], check=False)
    assert checked.returncode == 0, "first: ./start-crowdstream.sh --install-only"
    base = tmp_path_factory.mktemp("documented")
    music(base / "home")
    (base / "crowdstream").mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    for name in {".venv", *(one.partition("/")[0] for one in listed.split("\0") if one)}:
        (base / "crowdstream" / name).symlink_to(PROJECT / name)
    return base


def run(place: Path, name: str, found: list[Block]) -> None:
    """Run blocks as one script; what it prints explains a failure."""
    logs = place / name
    logs.mkdir()
    path = logs / "script.sh"
    path.write_text(script(found, logs), encoding="utf-8")
    env = child_environment(
        HOME=str(place / "home"), NUMBA_CACHE_DIR=str(kernel_folder()), COLUMNS="100",
        CROWDSTREAM_DRIVER="null", CROWDSTREAM_CACHE_MB="256", PYTHONUNBUFFERED="1",
        XDG_CACHE_HOME=None, XDG_CONFIG_HOME=None, XDG_DATA_HOME=None,
    )  # fmt: skip
    module = "tests.support.documented_commands"
    with subprocess.Popen(
        ["unshare", "-rn", sys.executable, "-P", "-m", module, str(path)],
        cwd=place / "crowdstream", env=env, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            out, _ = process.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    logged = "".join(
        f"\n-- {log.name}\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
        for log in sorted(logs.glob("*.log"))
    )
    assert process.returncode == 0, out + logged


@pytest.mark.parametrize("name", OWN)
def test_the_commands_of_a_page_with_servers_of_its_own_work(place: Path, name: str) -> None:
    run(place, name, [one for one in ALL[name] if one.is_run])


def test_the_commands_of_all_other_pages_work_beside_one_server(place: Path) -> None:
    found = [one for name in ALL if name not in OWN for one in ALL[name] if one.is_run]
    assert len(found) >= 10
    run(place, "others", found)


def test_what_is_not_run_says_why() -> None:
    left_out = [one for found in ALL.values() for one in found if not one.is_run]
    for block in left_out:
        assert len(block.value.split()) >= 3, f"{block.page}, line {block.line}"
    assert len(left_out) < sum(len(found) for found in ALL.values()) * 2 / 3


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_command_hides_in_a_block_of_another_kind(path: Path) -> None:
    text = re.sub(r"^( *)```sh\n.*?^\1```$", "", path.read_text(encoding="utf-8"),
                  flags=re.DOTALL | re.MULTILINE)  # fmt: skip
    other = re.findall(r"^ *```\w*\n(.*?)^ *```$", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE)
    hidden = [line for block in other + indented for line in block.splitlines()
              if _LIKE_A_COMMAND.match(line)]  # fmt: skip
    assert not hidden, "put it into a block of sh"


def test_each_mark_is_understood(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n<!-- not run: it takes a day -->\n```sh\nsleep 86400\n```\n\n"
        "```sh\necho one\n```\n\n<!-- exit: 3 -->\n```sh\n(exit 3)\n```\n"
        "<!-- runs until: up -->\n```sh\necho up; sleep 1000\n```\n",
        encoding="utf-8",
    )
    found = blocks(page, "page")
    assert [(one.kind, one.line) for one in found] == [
        ("not run", 5), ("", 9), ("exit", 14), ("runs until", 18)
    ]  # fmt: skip
    made = tmp_path / "script.sh"
    made.write_text(script([one for one in found if one.is_run], tmp_path), encoding="utf-8")
    done = subprocess.run(["bash", str(made)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "one\n" in done.stdout, done.stderr
    for wrong in ("false\necho on\n", "echo down\n"):
        kind = "runs until" if "down" in wrong else ""
        block = Block("page", 1, kind, "up", wrong)
        made.write_text(script([block], tmp_path), encoding="utf-8")
        done = subprocess.run(["bash", str(made)], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "on\n" not in done.stdout
