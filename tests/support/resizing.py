"""Changing the buffer size of a server whose deck A plays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.offline_server import RATE, count, write
from tests.support.server import Running, until

PLAIN = ("--cache-mb", "64", "--limiter-lookahead", "0", "--limiter-ceiling", "0")


def play(it: Running, folder: Path) -> None:
    """Play a track on deck A whose samples count, looped, so that it never ends."""
    it.client.request("/deck/A/load", str(write(folder / "track.wav", count(60))), answer="/done")
    it.client.send("/deck/A/play", 0.0, 1)
    until(lambda: it.client.status()["deck.A.state"] == "playing")


def resize(it: Running, frames: int) -> float:
    """Change the buffer size; return the silence in ms."""
    it.client.send("/buffer_size", frames)
    return await_resized(it, frames)


def await_resized(it: Running, frames: int) -> float:
    """Wait until a change in progress is complete, which is after the status reports it."""
    while True:
        address, values = it.client.receive()
        assert address != "/fail", values
        if address == "/done" and values[:2] == ["/buffer_size", frames]:  # not an earlier one
            return float(values[2])


def await_standby(it: Running) -> None:
    """Wait until there are exactly two engines, of which one plays and one is ready."""
    until(lambda: it.client.status()["standby"] != "none" and len(it.children_named("engine")) == 2)


def counts_on(heard: np.ndarray) -> bool:
    """Whether the samples count without a gap from the first audible one to the last."""
    numbers = np.rint(heard[:, 0] * 32768).astype(int)
    sounding = np.flatnonzero(numbers)
    numbers = numbers[sounding[0] : sounding[-1] + 1]
    return len(numbers) > RATE and set((np.diff(numbers) % 8192).tolist()) == {1}
