"""JSON from outside, with any nesting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.system.text import MAX_DEPTH, read_json, to_json


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100, 500, 900, 990, 5000, 200_000])
@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_too_deeply_is_refused(depth: int, open_: str, close: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(open_ * depth + "1" + close * depth)


def test_json_of_the_maximum_depth_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert to_json(read_json(text)) == text


@given(st.text(alphabet='[]{}",:0123456789eE+-.\\utrfalsn NaIi', max_size=60) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        said = read_json(text)
    except ValueError:
        return
    assert isinstance(to_json(said), str)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "9" * 5000, "[", ""])
def test_constants_that_only_python_accepts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)
