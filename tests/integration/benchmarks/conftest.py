"""Test benchmarks on small files, which all tests of a run share."""

import gc
from collections.abc import Iterator

import pytest

from benchmarks import material, mix


@pytest.fixture(autouse=True)
def _small_and_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    folder = tmp_path_factory.getbasetemp() / "bench"
    monkeypatch.setattr(material, "cache_folder", lambda: folder)
    monkeypatch.setattr(mix, "SETTLE_SECONDS", 0.1)
    yield
    gc.enable()  # some benchmarks disable it, as they usually run in a process of their own
