"""Results that are kept for as long as the array they were computed from."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from crowdstream.analysis.memo import AnyArray, per_array


def test_a_result_is_computed_once_per_array() -> None:
    seen: list[float] = []

    @per_array
    def total(array: AnyArray) -> float:
        seen.append(float(array.sum()))
        return seen[-1]

    first, equal = np.ones(3), np.ones(3)
    assert [total(first), total(first)] == [3.0, 3.0]
    assert len(seen) == 1
    assert total(equal) == 3.0
    assert len(seen) == 2, "an equal array is another one"


def test_array_and_result_are_released_together() -> None:
    @per_array
    def doubled(array: AnyArray) -> AnyArray:
        return 2 * array

    array = np.ones(3)
    result = weakref.ref(doubled(array))
    assert result() is not None
    del array
    gc.collect()
    assert result() is None
