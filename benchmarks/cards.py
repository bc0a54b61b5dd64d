"""The sound card of a benchmark: the requested one, or a JACK dummy started for it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from contrib.soundcard import JackDummy
from crowdstream.desk.stream_info import DeviceError
from crowdstream.engine.drivers.portaudio import list_devices

# A card's interrupt has a higher priority than all programs, and so does the dummy's clock.
CARD_PRIORITY = 80


@dataclass
class Card:
    """How to use the card: options of the server, and environment variables."""

    name: str
    driver: str
    device: str | None
    env: dict[str, str] = field(default_factory=dict)

    def flags(self, frames: int) -> list[str]:
        """Return the server options that select this card, with blocks of `frames`."""
        chosen = ["--driver", self.driver, "--buffer-size", str(frames)]
        return chosen if self.device is None else [*chosen, "--device", self.device]


def add_card_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that select a card."""
    parser.add_argument("--device", help="sound device: its number, or a part of its name")
    parser.add_argument("--driver", choices=("auto", "pyaudio", "null"), default="auto")
    parser.add_argument(
        "--jack", action="store_true",
        help="use a JACK dummy card started for the benchmark (default without a sound device)",
    )  # fmt: skip


def _devices() -> bool:
    try:
        return bool(list_devices())
    except DeviceError:
        return False


def wants_jack(arguments: argparse.Namespace) -> bool:
    """Return whether to start a JACK dummy: on request, or without any other device."""
    if arguments.jack or arguments.driver == "null" or arguments.device is not None:
        return bool(arguments.jack)
    return not _devices() and shutil.which("jackd") is not None


def raise_card(name: str) -> bool:
    """Raise the priority of a JACK server above all programs; return whether it is allowed."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] != "jackd" or name not in process.info["cmdline"]:
            continue
        try:
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                scheduling = os.sched_param(CARD_PRIORITY)
                os.sched_setscheduler(int(task.name), os.SCHED_FIFO, scheduling)
            return True
        except OSError:
            return False
    return False


@contextlib.contextmanager
def open_card(arguments: argparse.Namespace, frames: int) -> Iterator[Card]:
    """Open the requested card with a period of `frames`, for a `with` block.

    Raise `SoundCardError` if a JACK dummy is required and cannot be started.
    """
    if not wants_jack(arguments):
        name = arguments.device or ("built-in clock" if arguments.driver == "null" else "default")
        yield Card(name, arguments.driver, arguments.device)
        return
    with JackDummy(frames=frames) as jack:
        held = raise_card(jack.name)
        name = f"JACK dummy, {'real-time' if held else 'ordinary'} priority"
        yield Card(name, "pyaudio", None, dict(jack.env))
