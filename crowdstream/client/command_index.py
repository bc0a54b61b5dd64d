"""Find what is known about a command by its address."""

from __future__ import annotations

import functools
import re

from crowdstream.client.command_info import CommandInfo
from crowdstream.client.command_table import COMMANDS

_PLACES = re.compile(r"^/(deck|bus|sample|input)/([^/{]+)(?=/)")
_STEM = re.compile(r"(?<=/stem/)\d+(?=/|$)")
_PATTERN = frozenset("*?[]{}")
REMEMBERED = 1024  # addresses; a program sends the same ones again and again


def is_pattern(address: str) -> bool:
    """Whether an address is an OSC pattern."""
    return not _PATTERN.isdisjoint(address)


@functools.lru_cache(REMEMBERED)
def find(address: str) -> CommandInfo | None:
    """Return the command of an address or alias; None for a pattern or an unknown address."""
    if is_pattern(address):
        return None
    general = _STEM.sub("{stem}", _PLACES.sub(r"/\1/{\1}", address))
    known = _index()
    return known.get(general) or known.get(address)


@functools.cache
def _index() -> dict[str, CommandInfo]:
    return {
        address: command
        for command in COMMANDS
        for address in (*command.aliases, command.address)
    }
