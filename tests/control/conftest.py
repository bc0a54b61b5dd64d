"""A rig for each test: control, loader and engine on a clock that only rendering moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support_control import Rig, count, level, write


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A server without processes, sockets or a clock of its own."""
    made = Rig()
    yield made
    made.close()


@pytest.fixture
def steady(tmp_path: Path) -> str:
    """A file of a constant, 2 s."""
    return str(write(tmp_path / "steady.wav", level(2)))


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    """A file whose samples show their places, 4 s."""
    return str(write(tmp_path / "numbers.wav", count(4)))
