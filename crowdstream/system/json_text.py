"""JSON from and for other programs: limited nesting, and only numbers that JSON has."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 32  # of nested lists and objects


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def read_json(text: str | bytes) -> Any:
    """Parse a text. Raises `ValueError` for invalid JSON, or if it is nested too deeply.

    NaN and Infinity are refused: they are not JSON, although Python accepts them.

    Python's own limit of nesting depends on its version and on the caller; and not everything
    that it can read can be written again or sent to control.
    """
    try:
        said = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [said]
    for _ in range(MAX_DEPTH + 1):
        level = [
            one
            for outer in level
            if isinstance(outer, dict | list)
            for one in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return said
    raise ValueError("it is nested too deeply")


def to_json(message: Any) -> str:
    """A message as JSON; numbers that JSON does not have become null."""
    try:
        return json.dumps(message, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(message), separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
