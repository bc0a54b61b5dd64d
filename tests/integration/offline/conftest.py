"""A folder with the files that the sets name."""

from pathlib import Path

import pytest

from tests.support.offline_server import count, level, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """steady.wav: 2 s of a constant; numbers.wav: 4 s whose samples encode their positions."""
    write(tmp_path / "steady.wav", level(2))
    write(tmp_path / "numbers.wav", count(4))
    return tmp_path
