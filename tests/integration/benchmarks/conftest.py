"""Benchmarks are tested on small files, in a folder of the test's own, on the built-in clock."""

from pathlib import Path

import pytest

from benchmarks import material, mix


@pytest.fixture(autouse=True)
def _small_and_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(material, "cache_folder", lambda: tmp_path / "bench")
    monkeypatch.setattr(mix, "SETTLE_SECONDS", 0.1)
