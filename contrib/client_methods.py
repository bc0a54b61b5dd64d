"""Generate the command table and the typed methods of the client library.

    .venv/bin/python -P -m contrib.client_methods

It writes `crowdstream/client/command_table.py` and `command_methods.py` from the server's command
table. The client must not import the server, so it has a copy; a test fails when it is stale.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream.client.command_info import ArgInfo, CommandInfo, Ending
from crowdstream.commands.registry import PLACES, REQUIRED, TABLE, Arg, Command
from crowdstream.control.osc_reference import subject_of
from crowdstream.desk.constants import STEMS

FOLDER = Path(__file__).resolve().parents[1] / "crowdstream" / "client"
WIDTH = 100
_STEM_NUMBER = re.compile(r"/stem/(\d+)(?=/|$)")

# Methods that the clients define themselves, because their results have types of their own, or
# because they are subscriptions.
OWN = frozenset((
    "changes_subscribe", "clock_beat", "clock_ticks", "dj_status", "events", "feedback",
    "get_status", "meters", "notify", "ping", "record_status", "schedule_status", "status", "sync",
    "version", "waiting",
))  # fmt: skip

_HEAD = '''"""{title}

Generated from the server's command table by `python -P -m contrib.client_methods`; a test fails
when it is stale.
"""

'''


def places() -> dict[str, tuple[str, ...]]:
    """Return the values of each placeholder of an address, deck letters in capitals."""
    found = {
        name: tuple(dict.fromkeys(spelling.upper() for spelling, _number in values))
        for name, values in PLACES.items()
    }
    return {**found, "stem": tuple(str(number + 1) for number in range(STEMS))}


def _reply(answers: str) -> tuple[str, Ending]:
    # The text of the table begins with the address of the reply.
    found = re.search(r"`(/[\w/]+(?:\.reply)?|<address>\.reply)", answers)
    address = found[1] if found else ""
    if answers.startswith("for each"):
        return address, Ending.COUNT
    if address == "/done":
        return "", Ending.DONE
    if "part parts" in answers:
        return address, Ending.PARTS
    if address in ("/clock/time.reply", "/pong", "/synced"):
        return address, Ending.ECHO
    if address.endswith(".reply"):
        return address, Ending.FIRST
    return "", Ending.HANDLED


def _arg(arg: Arg) -> ArgInfo:
    required = arg.default is REQUIRED
    return ArgInfo(
        arg.name, arg.type, arg.help, arg.unit, arg.low, arg.high,
        None if required or arg.rest else arg.default, required, arg.choices, arg.words, arg.rest,
        arg.switch, arg.or_zero,
    )


def _info(command: Command) -> CommandInfo:
    def general(address: str) -> str:
        return _STEM_NUMBER.sub("/stem/{stem}", address)

    reply, ending = _reply(command.answers)
    name = re.sub(r"stem_1(?=_|$)", "stem", command.name)
    return CommandInfo(
        general(command.address), name, tuple(map(_arg, command.args)), command.help,
        command.answers, reply, ending, command.repeatable, command.scheduled, command.changes,
        tuple(map(general, command.aliases)), subject_of(command).slug,
    )


def commands() -> list[CommandInfo]:
    """Return the commands of the table; those that differ only in the stem are one."""
    found = []
    for command in TABLE.commands:
        number = _STEM_NUMBER.search(command.address)
        if number is None or number[1] == "1":
            found.append(_info(command))
    return found


def _source(value: object) -> str:
    # A value as source, with double quotes.
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"({', '.join(map(_source, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _literal(value: object, field: str = "", indent: int = 4) -> str:
    # A value as source, broken at the width of a line.
    text = f"{field}{_source(value)},"
    if len(text) + indent <= WIDTH or not isinstance(value, str):
        return " " * indent + text
    lines, rest, room = [], value, WIDTH - indent - 8
    while rest:
        cut = len(rest) if len(rest) <= room else rest.rindex(" ", 0, room) + 1
        lines.append(" " * (indent + 4) + _source(rest[:cut]))
        rest = rest[cut:]
    return "\n".join([" " * indent + field + "(", *lines, " " * indent + "),"])


def _fields(made: ArgInfo | CommandInfo, indent: int) -> list[str]:
    plain = type(made).__dataclass_fields__
    lines = []
    for name, field in plain.items():
        value = getattr(made, name)
        if name == "args":
            if not value:
                lines.append(" " * indent + "args=(),")
                continue
            lines.append(" " * indent + "args=(")
            for arg in value:
                lines += _wrapped_fields("ArgInfo", _fields(arg, indent + 8), indent + 4)
            lines.append(" " * indent + "),")
        elif name == "ending":
            if value is not Ending.HANDLED:
                lines.append(" " * indent + f"ending={value},")
        elif value != field.default or type(value) is not type(field.default):
            lines.append(_literal(value, f"{name}=", indent))
    return lines


def _wrapped_fields(kind: str, fields: list[str], indent: int) -> list[str]:
    # A call with keyword arguments, on one line if it fits.
    line = f"{' ' * indent}{kind}({' '.join(map(str.strip, fields)).removesuffix(',')}),"
    if len(line) <= WIDTH:
        return [line]
    return [" " * indent + f"{kind}(", *fields, " " * indent + "),"]


def table_source() -> str:
    """Return the source of `command_table.py`."""
    lines = [
        _HEAD.format(title="The commands of the server."),
        "# ruff: noqa: E501\n\n",
        "from __future__ import annotations\n\n",
        "from crowdstream.client.command_info import ArgInfo, CommandInfo, Ending\n\n",
        "PLACES: dict[str, tuple[str, ...]] = {\n",
        *(f"    {_source(name)}: {_source(values)},\n" for name, values in places().items()),
        "}\n",
        '"""The values of each placeholder of an address."""\n\n',
        "COMMANDS: tuple[CommandInfo, ...] = (\n",
    ]
    for command in commands():
        lines += [f"{line}\n" for line in _wrapped_fields("CommandInfo", _fields(command, 8), 4)]
    lines.append(")\n")
    return "".join(lines)


def _annotation(arg: ArgInfo) -> str:
    if arg.choices == places()["deck"]:
        found = "Deck"
    elif arg.choices:
        found = f"Literal[{', '.join(map(_source, arg.choices))}]"
    elif arg.switch:
        found = "bool"
    else:
        found = {"i": "int", "f": "float", "s": "str", "*": "Value"}[arg.type]
    if arg.words:
        found += f" | Literal[{', '.join(map(_source, arg.words))}]"
    optional = not arg.required and not arg.rest and arg.default is None
    return f"{found} | None" if optional else found


def _default(arg: ArgInfo) -> str:
    return repr(bool(arg.default)) if arg.switch else _source(arg.default)


def _wrapped(head: str, items: list[str], tail: str, indent: int) -> str:
    # `head(items)tail` on one line, or the items on lines of their own.
    line = f"{' ' * indent}{head}({', '.join(items)}){tail}"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"{' ' * (indent + 4)}{item},\n" for item in items)
    return f"{' ' * indent}{head}(\n{lines}{' ' * indent}){tail}"


def _parameters(command: CommandInfo) -> list[str]:
    types = {"deck": "Deck", "bus": "int", "sample": "int", "input": "int", "stem": "int"}
    found = ["self", *(f"{place}: {types[place]}" for place in command.places)]
    for arg in command.args:
        if arg.rest:
            found.append(f"*{arg.name}: {_annotation(arg)}")
        elif arg.required:
            found.append(f"{arg.name}: {_annotation(arg)}")
        else:
            found.append(f"{arg.name}: {_annotation(arg)} = {_default(arg)}")
    kind = "Timing" if command.scheduled else "Waiting"
    return [*found, f"**options: Unpack[{kind}]"]


def _arguments(command: CommandInfo) -> list[str]:
    required = [arg.name for arg in command.args if arg.required and not arg.rest]
    optional = [arg for arg in command.args if not arg.required and not arg.rest]
    rest = [f"*{arg.name}" for arg in command.args if arg.rest]
    if not optional:
        return [*required, *rest]
    if rest:
        return [*required, *(arg.name for arg in optional), *rest]
    values = "".join(f"{arg.name}, " for arg in optional).rstrip() if len(optional) == 1 else (
        ", ".join(arg.name for arg in optional))
    defaults = "".join(f"{_default(arg)}, " for arg in optional).rstrip() if (
        len(optional) == 1) else ", ".join(map(_default, optional))
    return [*required, f"*given(({values}), ({defaults}))"]


def _docstring(command: CommandInfo) -> str:
    text = command.help.replace("\\", "\\\\")
    first = text.partition(". ")[0].rstrip(".") + "."
    notes = [f"`{command.address}`", "sent again if lost" if command.repeatable else "sent once"]
    lines = [f'"""{first}']
    if len(lines[0]) + 8 > WIDTH:
        cut = first.rindex(" ", 0, WIDTH - 12)
        lines = [f'"""{first[:cut]}', first[cut + 1 :]]
    lines += ["", f"{notes[0]}, {notes[1]}.", '"""']
    return "\n".join(f"        {line}" if line else "" for line in lines)


def methods_source() -> str:
    """Return the source of `command_methods.py`."""
    parts = [
        _HEAD.format(title="A typed method for each command of the server."),
        "from __future__ import annotations\n\n",
        "from typing import Literal, Unpack\n\n",
        "from crowdstream.client.calls import Caller, Deck, R_co, Timing, Value, Waiting, given\n",
        "\n\n",
        "class CommandMethods(Caller[R_co]):\n",
        '    """The methods; each returns what `call` returns for its address and arguments."""\n',
    ]
    for command in commands():
        if command.name in OWN or command.address == "/deck/{deck}/stem/{stem}":
            continue
        prefix = "f" if command.places else ""
        values = [f'{prefix}"{command.address}"', *_arguments(command), "**options"]
        parts += [
            "\n", _wrapped(f"def {command.name}", _parameters(command), " -> R_co:", 4), "\n",
            _docstring(command), "\n", _wrapped("return self.call", values, "", 8), "\n",
        ]  # fmt: skip
    return "".join(parts)


SOURCES = {"command_table.py": table_source, "command_methods.py": methods_source}
"""The function that generates each module, by its file name."""


def main() -> None:
    """Write the generated modules."""
    for name, source in SOURCES.items():
        (FOLDER / name).write_text(source(), encoding="utf-8")


if __name__ == "__main__":
    main()
