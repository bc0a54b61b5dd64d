"""The hash of a part covers everything that its code is generated from, and nothing else."""

from __future__ import annotations

import enum
import math
import re
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from llvmlite import ir
from numba import types

import crowdstream
from crowdstream.engine.dsp import limiter, simd
from crowdstream.engine.jit import atomics, compile, kept_parts, views
from crowdstream.engine.jit.part_keys import NoKey, PartKeys
from crowdstream.engine.voice import tape


class Mode(enum.IntEnum):
    SLOW = 1


def uses(x: float) -> Any:
    return helper(x) + VALUE  # type: ignore[name-defined]  # noqa: F821


def helper(x: float) -> float:
    return x * 2.0


def other_helper(x: float) -> float:
    return x * 3.0


def with_values(**values: Any) -> FunctionType:
    """Return `uses` as if its module contained these values."""
    made = FunctionType(uses.__code__, {"helper": helper, "VALUE": 1, **values}, "uses")
    made.__module__ = "some.module"
    return made


def digest(function: Any) -> str:
    return PartKeys().digest(getattr(function, "py_func", function))


def test_the_hash_depends_on_exactly_the_used_values() -> None:
    plain = digest(with_values())
    assert digest(with_values(UNUSED=7)) == plain
    values = [
        1.0, 2, True, "1", b"1", (1,), [1], {1: 2}, frozenset({1}), None, 0.0, -0.0, Mode.SLOW,
        np.float32(1), np.float64(1), np.int64(1), np.arange(3), np.arange(3.0), np.dtype("f4"),
        np.dtype([("a", "f4"), ("b", "f8")]), np.dtype([("a", "f4"), ("b", "f8")], align=True),
        np.array([1, 2, 4]), types.float32, types.Array(types.float32, 1, "C"), ir.IntType(64),
        ir.IntType(32), np.sqrt, np.square, math, math.sin, np.float32, helper, other_helper,
        compile.kernel(helper),
        compile.fast_kernel(helper),
        compile.kernel(other_helper),
        atomics.fence,
        atomics.load_acquire, views.decks, views.voices, simd.lanes,
    ]  # fmt: skip
    found = [digest(with_values(VALUE=value)) for value in values]
    assert len({plain, *found}) == 1 + len(values)
    assert [digest(with_values(VALUE=value)) for value in values] == found


def test_a_changed_callee_changes_the_hash_of_all_callers() -> None:
    assert digest(with_values(helper=other_helper)) != digest(with_values())
    two = [compile.kernel(with_values(VALUE=value)) for value in (1, 2)]
    above = [digest(with_values(helper=one)) for one in two]
    assert above[0] != above[1]


def closure(value: Any) -> FunctionType:
    def inside(x: float) -> Any:
        return x + value

    assert isinstance(inside, FunctionType)
    return inside


def test_the_hash_covers_closures_and_defaults() -> None:
    def default_one(x: float = 1.0) -> float:
        return x

    assert digest(closure(1)) != digest(closure(2))
    assert digest(closure(1)) == digest(closure(1))
    before = digest(default_one)
    default_one.__defaults__ = (2.0,)
    assert digest(default_one) != before


def test_the_hash_does_not_depend_on_the_order_of_a_set() -> None:
    words = [f"word {number}" for number in range(50)]
    assert digest(closure(set(words))) == digest(closure(set(reversed(words))))


def test_a_value_of_an_unsupported_type_has_no_hash() -> None:
    def calls_itself(x: float) -> float:
        return calls_itself(x) if x > 1 else x

    for value in (object(), SimpleNamespace(a=1), np.array([None])):
        keys = PartKeys()
        for _ in range(2):
            with pytest.raises(NoKey):
                keys.digest(closure(value))
    with pytest.raises(NoKey, match="calls itself"):
        digest(calls_itself)


def test_every_kernel_of_the_engine_has_a_hash() -> None:
    for kernel in (tape.feed, limiter.limit, views.page_address):
        assert len(digest(kernel)) == 64


def test_code_that_numba_finds_by_type_is_in_every_key() -> None:
    # A function does not name the code of a type's operators, so its source counts for all parts.
    registers = re.compile(r"lower_\w+|type_callable|register_model|overload\w*|infer_\w+")
    found = {
        path.name
        for path in (Path(crowdstream.__file__).parent / "engine").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "import" in line and registers.search(line)
    }
    assert found == {"simd.py"} and "../dsp/simd.py" in kept_parts._SOURCES
