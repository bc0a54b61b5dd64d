"""The lights process, turn by turn."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from crowdstream.lights import outputs
from crowdstream.lights.main import Lights
from crowdstream.lights.music import Moment
from crowdstream.lights.structure import Place
from tests.support.offline_server import Rig
from tests.support.osc_client import until


@pytest.fixture
def lights(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lights]:
    """Lights whose music is in the section that the test sets."""
    monkeypatch.setattr(outputs, "MIN_PAUSE", 0.05)
    with Rig() as rig:
        made = Lights(rig.desk)
        yield made
        made.close()


def play(lights: Lights, section: str) -> None:
    """Let the music be in a section, in the middle of a beat."""
    place = Place(4, 1.5, 32.0, section)
    moment = Moment(1.5, 120.0, "A", True, place)
    lights._music.at = lambda frame: moment  # type: ignore[method-assign]


def buttons(
    lights: Lights, program: socket.socket, last: tuple[str, str]
) -> list[tuple[str, str]]:
    """Names and states of the messages of buttons that the program receives, up to `last`."""
    program.settimeout(0.02)
    received = b""
    found: list[Any] = []

    def enough() -> bool:
        nonlocal received
        lights.turn()
        with contextlib.suppress(TimeoutError):
            received += program.recv(65536)
        messages = [json.loads(line) for line in received.split(b"\n")[:-1]]
        found[:] = [(one["name"], one["state"]) for one in messages if one["evt"] == "btn"]
        return bool(found) and found[-1] == last

    until(enough)
    return found


def test_a_program_that_is_found_in_a_section_is_sent_its_button(lights: Lights) -> None:
    play(lights, "intro")
    lights.turn()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"os2l://127.0.0.1:{listener.getsockname()[1]}"
        lights.handle({"do": "targets", "targets": [target], "lead": 0.0})
        with listener.accept()[0] as program:
            assert buttons(lights, program, ("intro", "on"))
        until(lambda: lights.turn() and lights._outputs[target].failures > 0)
        play(lights, "drop")
        with listener.accept()[0] as program:
            # The program may have been found again before the music went on: with the intro on.
            found = buttons(lights, program, ("drop", "on"))
            assert found[-2:] == [("intro", "off"), ("drop", "on")]
