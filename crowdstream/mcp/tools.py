"""Tools derived from the command table: names, JSON schemas, and the commands that they send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crowdstream.client.calls import given
from crowdstream.client.command_info import ArgInfo, CommandInfo
from crowdstream.client.command_table import COMMANDS, PLACES

# Subscriptions, which a tool cannot deliver; what the DJ itself sends; and barriers, since every
# tool waits for its result anyway.
_NO_TOOLS = frozenset((
    "/changes/subscribe", "/clock/ticks", "/dj/answer", "/dj/register", "/dj/state", "/feedback",
    "/meters", "/notify", "/ping", "/sync",
))  # fmt: skip
# They do what newer addresses do, and two names for one thing mislead a reader.
_NO_SUBJECT = "existing-sequencers"
AT_BEAT = "at_beat"
# They send another command, whose address is their second argument.
_SCHEDULING = ("/clock/at", "/clock/next")


class BadArguments(ValueError):
    """The arguments do not fit the tool; the message names the argument and the reason."""


@dataclass(frozen=True)
class CommandCall:
    """The command of one use of a tool. `at_beat`: the beat at which it acts; None: immediately."""

    address: str
    arguments: tuple[Any, ...]
    at_beat: float | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its address, and that of the command that it schedules."""
        scheduled = self.arguments[1:2] if self.address in _SCHEDULING else ()
        return (self.address, *map(str, scheduled))

    def __str__(self) -> str:
        words = [self.address, *(str(value) for value in self.arguments)]
        when = "" if self.at_beat is None else f" at beat {self.at_beat:g}"
        return " ".join(words) + when


@dataclass(frozen=True)
class CommandTool:
    """A command as a tool."""

    command: CommandInfo

    @property
    def name(self) -> str:
        """Its name, which is also that of the client's method."""
        return self.command.name

    @property
    def description(self) -> str:
        """What it does and returns."""
        answers = f" Reply: {self.command.answers}." if self.command.answers else ""
        return f"{self.command.help}{answers} OSC address: {self.command.address}"

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments."""
        properties = {place: _place_schema(place) for place in self.command.places}
        properties |= {arg.name: _schema(arg) for arg in self.command.args}
        required = [*self.command.places]
        required += [arg.name for arg in self.command.args if arg.required]
        if self.command.scheduled and AT_BEAT not in properties:
            properties[AT_BEAT] = {
                "type": "number", "minimum": 0,
                "description": "beat of the clock at which it acts; left out: immediately",
            }  # fmt: skip
        return {
            "type": "object", "properties": properties, "required": required,
            "additionalProperties": False,
        }  # fmt: skip

    def bind(self, arguments: Mapping[str, Any]) -> CommandCall:
        """Return the command for these arguments; raise `BadArguments`.

        The server checks types and ranges.
        """
        left = dict(arguments)
        address = self.command.address
        for place in self.command.places:
            value = str(_taken(left, place)).upper()
            if value not in PLACES[place]:
                raise BadArguments(f"{place} must be one of {', '.join(PLACES[place])}")
            address = address.replace(f"{{{place}}}", value)
        beat = left.pop(AT_BEAT, None) if self.command.scheduled else None
        if beat is not None and (isinstance(beat, bool) or not isinstance(beat, int | float)):
            raise BadArguments(f"{AT_BEAT} is not a number")
        values = tuple(self._values(left))
        if left:
            raise BadArguments(f"{self.name} has no argument {', '.join(map(repr, left))}")
        return CommandCall(address, values, None if beat is None else float(beat))

    def _values(self, left: dict[str, Any]) -> Iterator[Any]:
        args = self.command.args
        yield from (_taken(left, arg.name) for arg in args if arg.required and not arg.rest)
        optional = [arg for arg in args if not arg.required and not arg.rest]
        defaults = tuple(arg.default for arg in optional)
        values = tuple(left.pop(arg.name, arg.default) for arg in optional)
        rest = [value for arg in args if arg.rest for value in _listed(left, arg)]
        yield from values if rest else given(values, defaults)
        yield from rest


def _taken(left: dict[str, Any], name: str) -> Any:
    if name not in left:
        raise BadArguments(f"{name} is missing")
    return left.pop(name)


def _listed(left: dict[str, Any], arg: ArgInfo) -> list[Any]:
    if arg.required and arg.name not in left:
        raise BadArguments(f"{arg.name} is missing")
    values = left.pop(arg.name, [])
    if not isinstance(values, list):
        raise BadArguments(f"{arg.name} is not a list")
    return values


def _place_schema(place: str) -> dict[str, Any]:
    values = PLACES[place]
    if all(value.isdigit() for value in values):
        return {"type": "integer", "minimum": int(values[0]), "maximum": int(values[-1])}
    return {"type": "string", "enum": list(values)}


def _schema(arg: ArgInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if arg.switch:
        found["type"] = "boolean"
    elif arg.type in ("i", "f"):
        found["type"] = "integer" if arg.type == "i" else "number"
        if arg.low is not None:
            # Where 0 has a meaning of its own, the server checks the range of the others.
            found["minimum"] = min(arg.low, 0.0) if arg.or_zero else arg.low
        if arg.high is not None:
            found["maximum"] = arg.high
    elif arg.type == "s":
        found["type"] = "string"
        if arg.choices:
            found["enum"] = list(arg.choices)
    else:
        found["type"] = ["number", "string"]
    if arg.words:
        found = {"anyOf": [found, {"type": "string", "enum": list(arg.words)}]}
    if arg.rest:
        found = {"type": "array", "items": found}
    unit = f" ({arg.unit})" if arg.unit else ""
    if text := f"{arg.help}{unit}".strip():
        found["description"] = text
    if not arg.required and not arg.rest and arg.default is not None:
        found["default"] = bool(arg.default) if arg.switch else arg.default
    return found


def tools() -> dict[str, CommandTool]:
    """Return all tools by name."""
    return {
        command.name: CommandTool(command)
        for command in COMMANDS
        if command.address not in _NO_TOOLS and command.subject != _NO_SUBJECT
        # A stem's level has an address with the number as an argument as well.
        and command.address != "/deck/{deck}/stem/{stem}"
    }
