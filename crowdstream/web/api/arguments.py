"""Arguments of a command as JSON gives them, in the order in which the command takes them."""

from __future__ import annotations

import json
from typing import Any

from crowdstream.system.json_text import read_json

MAX_ARGUMENTS = 1100  # a beat grid of 512 points has 1024
MAX_NUMBER = 3.4028234663852886e38  # what a float of OSC holds; each argument has its own range


class Unusable(ValueError):
    """What was sent is no command's arguments. The message says why."""


def parse_json(body: bytes) -> Any:
    """What a body says. Raises `Unusable`."""
    try:
        return read_json(body)
    except ValueError as error:
        raise Unusable(f"this is no JSON: {error}") from None


def in_order(command: dict[str, Any], said: Any) -> list[Any]:
    """The arguments by place: from `{"args": [...]}`, a list, or an object by names.

    `command`: its line of the table. Raises `Unusable`; whether the values fit is for control to
    say. Where one is left out that has no value to stand for it, None is in its place.
    """
    if isinstance(said, dict):
        named = said.get("args") if set(said) == {"args"} else said
        said = _checked(named) if isinstance(named, list) else _by_name(command, said)
    elif isinstance(said, list):
        said = _checked(said)
    if not isinstance(said, list):
        raise Unusable('arguments are {"args": [...]} or an object by their names')
    if len(said) > MAX_ARGUMENTS:
        raise Unusable(f"a command has at most {MAX_ARGUMENTS} arguments")
    args = command["args"]
    for place, value in enumerate(said):
        arg = args[min(place, len(args) - 1)] if args else None
        if isinstance(value, bool) and arg and (command["any_order"] or not arg["switch"]):
            # By OSC they are numbers; JSON has others for these.
            raise Unusable(f"{arg['name']}: {json.dumps(value)} is not a number")
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
            if "default" not in arg:
                raise Unusable(f"{name} is missing, and {names[last]} comes after it")
            found.append(arg["default"])
            continue
        given = said[name] if arg["rest"] and isinstance(said[name], list) else [said[name]]
        if command["any_order"] and any(isinstance(one, str) != (arg["type"] == "s")
                                        for one in given):
            # Without its name it would be taken for another argument.
            raise Unusable(f"{name} is a {'text' if arg['type'] == 's' else 'number'}")
        found += _checked(given)
    return found


def _checked(values: list[Any]) -> list[Any]:
    for value in values:
        _check(value)
    return values


def _check(value: Any) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        if not abs(value) <= MAX_NUMBER:
            raise Unusable("a number is too large")
    elif isinstance(value, str):
        try:
            # File names that are no UTF-8 come as lone surrogates, and go back as the same bytes.
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Unusable("a text is no Unicode") from None
    else:
        raise Unusable("arguments are numbers and texts")
