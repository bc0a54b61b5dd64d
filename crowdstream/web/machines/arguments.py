"""Arguments of a command as JSON gives them, in the order in which the command takes them."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_ARGUMENTS = 1100  # a beat grid of 512 points has 1024
_LARGEST = 2**63


class Unusable(ValueError):
    """What was sent is no command's arguments. The message says why."""


def parse_json(body: bytes) -> Any:
    """What a body says; an empty one says None. Raises `Unusable`."""
    if not body:
        return None
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"this is no JSON: {error}") from None


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def in_order(command: dict[str, Any], said: Any) -> list[Any]:
    """The arguments by place: from None, `{"args": [...]}`, a list, or an object by names.

    `command`: its line of the table. Raises `Unusable`; whether the values fit is for control to
    say.
    """
    if said is None:
        said = []
    if isinstance(said, dict):
        named = said.get("args") if set(said) == {"args"} else said
        said = named if isinstance(named, list) else _by_name(command, said)
    if not isinstance(said, list):
        raise Unusable('arguments are {"args": [...]} or an object by their names')
    if len(said) > MOST_ARGUMENTS:
        raise Unusable(f"a command has at most {MOST_ARGUMENTS} arguments")
    for value in said:
        _check(value)
    return said


def _by_name(command: dict[str, Any], said: dict[str, Any]) -> list[Any]:
    args = command["args"]
    names = [arg["name"] for arg in args]
    if strange := [name for name in said if name not in names]:
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise Unusable(f"{strange[0][:40]} is no argument of {command['address']}: {known}")
    last = max((names.index(name) for name in said), default=-1)
    found: list[Any] = []
    for arg in args[: last + 1]:
        name = arg["name"]
        if name not in said:
            if arg.get("default") is None:
                raise Unusable(f"{name} is missing, and {names[last]} comes after it")
            found.append(arg["default"])
        elif arg["rest"]:
            value = said[name]
            found += value if isinstance(value, list) else [value]
        else:
            found.append(said[name])
    return found


def _check(value: Any) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) >= _LARGEST:
            raise Unusable("a number is too large")
    elif isinstance(value, str):
        try:
            # File names that are no UTF-8 come as lone surrogates, and go back as the same bytes.
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Unusable("a text is no Unicode") from None
    else:
        raise Unusable("arguments are numbers and texts")
