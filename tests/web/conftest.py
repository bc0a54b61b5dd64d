"""A web process without a network, on a server without processes."""

from collections.abc import Iterator

import pytest

from tests.control.conftest import rig  # noqa: F401
from tests.support_control import Rig
from tests.web.support_web import FakeWeb


@pytest.fixture
def web(rig: Rig) -> Iterator[FakeWeb]:  # noqa: F811
    """What the parts of the web process share."""
    yield FakeWeb(rig)
