"""Three servers that play are upgraded in stages by the real `crowdstream upgrade`."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.environment import PROJECT, child_environment
from tests.support.offline_server import RATE
from tests.support.resizing import PLAIN, await_standby, play
from tests.support.server import Running, server
from tests.support.upgrades import NEXT, engine_fault, installation, roots

NAMES = ("main", "bar", "foyer")
LONG_TRIAL, SHORT_TRIAL = "60", "1"  # s; a version that fails ends its trial early
SECONDS = 400.0


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[dict[str, Running]]:
    """Servers by name, each of which plays a loop on deck A."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in NAMES:
            folder = tmp_path / name
            folder.mkdir()
            # Long blocks, so that a busy machine interrupts no music by itself.
            options = (*PLAIN, "--driver", "null", "--standby", "warm", "--buffer-size", "8192")
            found[name] = stack.enter_context(server(folder, *options))
            play(found[name], folder)
        for one in found.values():
            await_standby(one)
        yield found


def roll_out(
    playing: dict[str, Running], folder: Path, path: Path, trial: str
) -> subprocess.CompletedProcess[str]:
    """Run `crowdstream fleet --upgrade`, one server per stage."""
    python = shlex.quote(sys.executable)
    command = (
        f"{python} -P -m crowdstream upgrade --port {{port}} --python {python} "
        f"--trial {trial} {{path}}"
    )
    entries = [f'[[server]]\nname = "{name}"\nhost = "127.0.0.1"\nport = {one.port}\n'
               for name, one in playing.items()]  # fmt: skip
    config = folder / "fleet.toml"
    config.write_text(f'[fleet]\nupgrade = "{command}"\n' + "".join(entries))
    return subprocess.run(
        [sys.executable, "-P", "-m", "crowdstream", "fleet", "--config", str(config),
         "--upgrade", str(path), "--stages", "1,2,3", "--observe", "1"],
        env=child_environment(COLUMNS="200"), cwd=PROJECT, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip


def version(one: Running) -> str:
    """The version that control reports."""
    values = one.client.request("/version", answer="/version.reply")
    return f"{values[1]}.{values[2]}{values[3]}"


def test_a_good_version_reaches_all_servers_one_after_another(
    playing: dict[str, Running], tmp_path: Path
) -> None:
    new = installation(tmp_path / "new")
    before = {name: one.client.status() for name, one in playing.items()}
    ended = roll_out(playing, tmp_path, new, SHORT_TRIAL)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    places = [lines.index(f"stage {number} of 3: {name}") for number, name in enumerate(NAMES, 1)]
    assert places == sorted(places), ended.stdout
    for place, name in zip(places, NAMES, strict=True):
        assert lines[place + 1].startswith(f"{name}: ") and "failed" not in lines[place + 1]
    for name, one in playing.items():
        assert version(one) == NEXT and str(new) in roots(one)
        one.client.await_frames(RATE // 4)
        after = one.client.status()
        assert after["deck.A.state"] == "playing"
        for counter in ("underruns_engine", "missing_pages", "guarded", "restarts_control"):
            assert after[counter] == before[name][counter], (name, counter)


def test_a_broken_version_stops_after_the_first_server(
    playing: dict[str, Running], tmp_path: Path
) -> None:
    broken = installation(tmp_path / "broken", patches=[engine_fault("os._exit(3)")])
    before = {name: (version(one), roots(one)) for name, one in playing.items()}
    ended = roll_out(playing, tmp_path, broken, LONG_TRIAL)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "stage 1 of 3: main" in ended.stdout and "stage 2" not in ended.stdout
    assert "main: failed (1): " in ended.stdout, ended.stdout
    for name in NAMES[1:]:
        one = playing[name]
        assert f"{name}  not upgraded, because of main: failed (1)" in ended.stdout
        assert (version(one), roots(one)) == before[name]
    assert version(playing["main"]) == before["main"][0]
    assert str(broken) not in roots(playing["main"])
    for one in playing.values():  # the music continues everywhere
        one.client.await_frames(RATE // 4)
        assert one.client.status()["deck.A.state"] == "playing"
