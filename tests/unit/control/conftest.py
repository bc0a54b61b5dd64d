"""Sound files whose samples show what was played."""

from pathlib import Path

import pytest

from tests.support.offline_server import count, level, write


@pytest.fixture
def steady(tmp_path: Path) -> str:
    """A file of a constant, 2 s."""
    return str(write(tmp_path / "steady.wav", level(2)))


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    """A file whose samples show their places, 4 s."""
    return str(write(tmp_path / "numbers.wav", count(4)))
