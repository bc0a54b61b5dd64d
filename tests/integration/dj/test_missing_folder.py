"""A DJ on a running server plays on when its folder is gone, and returns to it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.support.analysed_folder import analyse, music
from tests.support.environment import PROJECT, bare_environment
from tests.support.osc_client import OscClient
from tests.support.server import server, until

SILENCE = 1e-4  # linear
GAP_SECONDS = 0.1  # a longer silence is an audible gap


@contextlib.contextmanager
def dj(port: int, *options: str) -> Iterator[None]:
    command = [sys.executable, "-P", "-m", "crowdstream", "dj", *options, "--port", str(port),
               "--no-crowd", "--no-analysis"]  # fmt: skip
    with subprocess.Popen(command, cwd=PROJECT, env=bare_environment()) as process:
        try:
            yield
        finally:
            process.terminate()


def dj_state(client: OscClient) -> dict[str, Any]:
    """Return the DJ's state, empty before it has reported one."""
    client.send("/dj/status")
    parts: list[str] = []
    while True:
        _there, _part, count, text = client.receive_until("/dj/status.reply")
        parts.append(text)
        if len(parts) >= count:
            state = json.loads("".join(parts) or "{}")
            return state if isinstance(state, dict) else {}


def silent_seconds(path: Path) -> float:
    """Return the length of the longest silence between two sounds."""
    samples, rate = soundfile.read(path, dtype="float32")
    sounding = np.flatnonzero(np.abs(samples).max(axis=1) > SILENCE)
    assert len(sounding) > rate
    return int(np.diff(sounding).max() - 1) / int(rate)


def test_music_continues_when_the_folder_is_renamed_and_returns_to_it(tmp_path: Path) -> None:
    stick, library = music(tmp_path / "stick", "abcd"), tmp_path / "library.db"
    analyse(library, stick)
    analyse(library, music(tmp_path / "other", "xy"))
    mix = tmp_path / "mix.wav"
    options = (str(stick), "--dj-fallback", str(tmp_path / "other"), "--library", str(library))
    with server(tmp_path, "--driver", "null", "--standby", "off") as running:
        client = running.client

        def plays(names: str) -> bool:
            status = client.status()
            return any(
                status[f"deck.{deck}.state"] == "playing"
                and status[f"deck.{deck}.track"] in tuple(names)
                and status[f"deck.{deck}.position"] > 2.0
                for deck in "ABCD"
            )

        def next_is(names: str) -> bool:
            state = dj_state(client)
            following = state.get("next", {})
            name = str(following.get("name", "")).removesuffix(".wav")
            return name in tuple(names) and following["stage"] in ("ready", "going")

        with dj(running.port, *options):
            until(lambda: plays("abcd"))
            client.request("/record/start", str(mix), "float", answer="/done")
            stick.rename(tmp_path / "away")
            until(lambda: next_is("xy"))
            client.send("/dj/next")
            until(lambda: plays("xy"))
            assert "stick" in dj_state(client)["problem"]
            (tmp_path / "away").rename(stick)
            until(lambda: next_is("abcd"))
            client.send("/dj/next")
            until(lambda: plays("abcd"))
            assert dj_state(client)["problem"] == ""
            client.request("/record/stop", answer="/done")
            until(lambda: client.status()["recording"] == 0)
            lost = client.status()["record_lost"]
    # What a busy machine has not recorded in time is silence in the file.
    assert lost or silent_seconds(mix) < GAP_SECONDS
