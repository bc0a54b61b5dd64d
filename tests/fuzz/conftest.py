"""What the targets leave for their next run is gone after the last one."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    from tests.fuzz.targets import audio, rings

    audio.DECODER.close()
    rings.close()
