"""A web process without a network, and a server without processes."""

from collections.abc import Iterator

import pytest

from tests.support.offline_server import Rig
from tests.support.web_client import FakeWeb


@pytest.fixture
def web(rig: Rig) -> Iterator[FakeWeb]:
    """The state shared by the parts of the web process."""
    yield FakeWeb(rig)
