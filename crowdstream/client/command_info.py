"""What a client knows about each command: arguments, reply, and whether it may be repeated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Ending(Enum):
    """The message that completes a command.

    - `HANDLED`: no reply of its own; complete when the server has handled it.
    - `DONE`: `/done <address> values ...`.
    - `FIRST`: the first message with the reply's address.
    - `ECHO`: the message with the reply's address that begins with the command's first argument.
    - `COUNT`: messages with the reply's address, then `/done <address> <number>`, where `number` is
      that of the different first values.
    - `PARTS`: messages with the reply's address, each `<value> <part> <parts> <text>`.
    """

    HANDLED = "handled"
    DONE = "done"
    FIRST = "first"
    ECHO = "echo"
    COUNT = "count"
    PARTS = "parts"


@dataclass(frozen=True)
class ArgInfo:
    """One argument: OSC type tag (i, f, s, or * for any), range, unit, default, choices.

    `required`: there is no default. `or_zero`: 0 is allowed outside the range. `rest`: it takes all
    remaining values. `words` are strings that are accepted in place of a number. `switch`: 1
    switches on, 0 off.
    """

    name: str
    type: str
    help: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    rest: bool = False
    switch: bool = False
    or_zero: bool = False


@dataclass(frozen=True)
class CommandInfo:
    """One command; `address` contains `{deck}`, `{bus}`, `{sample}`, `{input}` or `{stem}`.

    `reply`: the address of its reply, `<address>` standing for the command's own; `ending`: the
    message that completes it. `repeatable`: it is sent again when a reply is lost. `scheduled`: it
    can act at a time or a beat. `writes`: it may change what others hear or see. `subject`: its
    page in the OSC reference.
    """

    address: str
    name: str
    args: tuple[ArgInfo, ...]
    help: str
    answers: str = ""
    reply: str = ""
    ending: Ending = Ending.HANDLED
    repeatable: bool = False
    scheduled: bool = False
    writes: bool = True
    aliases: tuple[str, ...] = ()
    subject: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        """The placeholders of the address, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.address))
