"""JSON from outside and for it: nested not too deeply, with numbers that JSON knows."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 32  # of lists and objects in each other


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def read_json(text: str | bytes) -> Any:
    """What a text says. Raises `ValueError` for what is no JSON, or nested too deeply.

    NaN and Infinity are no JSON, though Python reads them.

    How deep Python itself can read depends on its version and on who calls; and what it can read
    it can't always write again, or hand to control.
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


def encoded(message: Any) -> str:
    """A message as JSON; numbers that JSON does not know become null."""
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
