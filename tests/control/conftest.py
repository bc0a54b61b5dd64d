"""A rig for each test: control, loader and engine on a clock that only rendering moves."""

from collections.abc import Iterator

import pytest

from tests.support_control import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A server without processes, sockets or a clock of its own."""
    made = Rig()
    yield made
    made.close()
