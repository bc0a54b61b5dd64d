"""A server with a playing deck A, and its engines: the rendering one and the standby."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.support.offline_server import write
from tests.support.server import Running, server, until

FRAMES = 256
OPTIONS = ("--buffer-size", str(FRAMES), "--stats-interval", "0")


def engines(it: Running) -> list[psutil.Process]:
    """Return the engine processes, the oldest first."""
    return it.children_named("engine")


def await_standby(it: Running, state: str = "") -> None:
    """Wait until a standby is ready, in the state `state` if that is given."""
    until(lambda: it.client.status()["standby"] in ((state,) if state else ("running", "warm")))


def await_takeover(it: Running, number: int = 1) -> dict[str, Any]:
    """Wait for the `number`-th takeover; return the status after it.

    There may be one more: on an overloaded machine, an engine may be mistaken for one that hangs.
    """
    until(lambda: it.client.status()["takeovers"] >= number)
    until(lambda: it.client.status()["standby"] == "none" or len(engines(it)) == 2)
    return it.client.status()


def play(it: Running, track: Path) -> None:
    """Load a track on deck A and play it, looped."""
    it.client.request("/deck/A/load", str(track), answer="/done")
    it.client.send("/deck/A/play", 0.0, 1)
    until(lambda: it.client.status()["deck.A.state"] == "playing")


@contextlib.contextmanager
def playing(folder: Path, card: Any, samples: np.ndarray, *options: str) -> Iterator[Running]:
    """Run a server on a card, with a playing deck A."""
    track = write(folder / "track.wav", samples)
    with server(folder, *OPTIONS, *options, env=card.env if card else {}) as it:
        play(it, track)
        yield it
