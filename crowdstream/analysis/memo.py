"""Keep the result of a function of an array, such as a spectrum that several steps need."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy.typing as npt

Result = TypeVar("Result")
AnyArray = npt.NDArray[Any]


def per_array(function: Callable[[AnyArray], Result]) -> Callable[[AnyArray], Result]:
    """Keep the last result of `function`, until the array it was computed from is released.

    The array must not be changed in between. For one thread at a time.
    """
    kept: list[tuple[weakref.ref[AnyArray], Result]] = []

    @functools.wraps(function)
    def wrapped(array: AnyArray) -> Result:
        for reference, result in kept:
            if reference() is array:
                return result
        made = function(array)
        kept[:] = [(weakref.ref(array, lambda _gone: kept.clear()), made)]
        return made

    return wrapped
