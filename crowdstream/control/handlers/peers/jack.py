"""Ports of a JACK or PipeWire server."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.settings.schema import JACK_GROUPS


@TABLE.add(
    "/jack/ports",
    Arg("groups", "s", "what to offer; nothing: no ports", choices=JACK_GROUPS, default=(),
        rest=True, max_count=len(JACK_GROUPS)),
    control_only=True,
)  # fmt: skip
def ports(request: ServerRequest, groups: tuple[str, ...]) -> None:
    """Offer decks, stems, buses and inputs as separate ports of a JACK or PipeWire server.

    Ports that stay keep their connections.
    """
    request.core.jack.offer(tuple(dict.fromkeys(groups)))


@TABLE.add(
    "/jack/transport",
    Arg("on", "i", "1: follow it", low=0, high=1),
    control_only=True,
)
def transport(request: ServerRequest, on: int) -> None:
    """Follow the JACK transport: decks start and stop with it, and the clock takes its tempo."""
    request.core.jack.follow(bool(on))
