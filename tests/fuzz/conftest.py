"""Ends the child processes that the targets keep between inputs, after the last test."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    from tests.fuzz.targets import audio, rings

    audio.DECODER.close()
    rings.close()
