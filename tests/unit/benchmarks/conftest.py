"""Test benchmarks on small files in a temporary folder."""

from pathlib import Path

import pytest

from benchmarks import material, mix


@pytest.fixture(autouse=True)
def _small_and_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(material, "cache_folder", lambda: tmp_path / "bench")
    monkeypatch.setattr(mix, "SETTLE_SECONDS", 0.1)
