"""Each target with its seeds and its whole corpus: faults that were found once stay fixed."""

from __future__ import annotations

import pytest

from tests.fuzz.registry import CORPUS, NAMES, load

MAX_BYTES = 1_000_000  # size of all corpora, which are part of every clone


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_corpus_cause_no_fault(name: str) -> None:
    target = load(name)
    inputs = {f"seed {n}": data for n, data in enumerate(target.seeds())} | target.corpus()
    assert inputs
    for known, data in inputs.items():
        try:
            target.run(data)
        except Exception as error:
            raise AssertionError(f"{name}: {known}") from error


def test_the_corpora_are_small_and_belong_to_targets() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    assert {path.parent.name for path in files} <= set(NAMES)
