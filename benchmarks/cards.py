"""The sound card of a benchmark: the one asked for, or a JACK dummy of its own."""

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

# A card's interrupt comes before everything that programs do; so does the dummy's clock.
CARD_PRIORITY = 80


@dataclass
class Card:
    """How to reach the card: flags of the server, and variables of its environment."""

    name: str
    driver: str
    device: str | None
    env: dict[str, str] = field(default_factory=dict)

    def flags(self, frames: int) -> list[str]:
        """Flags of the server that choose this card, at blocks of `frames`."""
        chosen = ["--driver", self.driver, "--buffer-size", str(frames)]
        return chosen if self.device is None else [*chosen, "--device", self.device]


def add_card_arguments(parser: argparse.ArgumentParser) -> None:
    """The options by which a card is chosen."""
    parser.add_argument("--device", help="sound device: its number, or a part of its name")
    parser.add_argument("--driver", choices=("auto", "pyaudio", "null"), default="auto")
    parser.add_argument(
        "--jack", action="store_true",
        help="play on a JACK dummy card started for it (also when there is no sound device)",
    )  # fmt: skip


def _devices() -> bool:
    try:
        return bool(list_devices())
    except DeviceError:
        return False


def wants_jack(arguments: argparse.Namespace) -> bool:
    """Whether a JACK dummy is to be started: asked for, or nothing else is there."""
    if arguments.jack or arguments.driver == "null" or arguments.device is not None:
        return bool(arguments.jack)
    return not _devices() and shutil.which("jackd") is not None


def _prefer(name: str) -> bool:
    # Give every thread of the JACK server of that name a priority above all programs'.
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
    """The card that the arguments name, with a period of `frames`, for a `with` block.

    Raises `SoundCardError` when a JACK dummy is wanted and can't be had.
    """
    if not wants_jack(arguments):
        name = arguments.device or ("built-in clock" if arguments.driver == "null" else "default")
        yield Card(name, arguments.driver, arguments.device)
        return
    with JackDummy(frames=frames) as jack:
        held = _prefer(jack.name)
        name = f"JACK dummy, {'real-time' if held else 'ordinary'} priority"
        yield Card(name, "pyaudio", None, dict(jack.env))
