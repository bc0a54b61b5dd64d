"""Bundles: commands that are sent in one packet and act on the same frame."""

from __future__ import annotations

from typing import Any, Unpack

from crowdstream.client.calls import Timing
from crowdstream.client.command_methods import CommandMethods
from crowdstream.client.connection import Command


class Bundle(CommandMethods[None]):
    """Collects commands. The time is that of the bundle, so the methods take no options."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def call(self, address: str, /, *arguments: Any, **options: Unpack[Timing]) -> None:
        """Add a command; raise `ValueError` for options."""
        if options:
            raise ValueError(f"{', '.join(options)}: an option of the bundle, not of its commands")
        self.commands.append(Command(address, arguments))
