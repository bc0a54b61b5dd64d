"""Audio files whose samples show what was played."""

from pathlib import Path

import pytest

from tests.support.offline_server import count, level, write


@pytest.fixture
def steady(tmp_path: Path) -> str:
    """A file with a constant signal of 2 s."""
    return str(write(tmp_path / "steady.wav", level(2)))


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    """A file of 4 s whose samples encode their positions."""
    return str(write(tmp_path / "numbers.wav", count(4)))
