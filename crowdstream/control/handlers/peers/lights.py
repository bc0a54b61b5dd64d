"""Lights: targets and lead."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.settings.schema import MAX_LIGHTS_LEAD, MIN_LIGHTS_LEAD

_TARGET = "such as os2l, os2l://HOST:PORT, sacn://multicast/1 or artnet://HOST/0"


@TABLE.add("/lights/add", Arg("target", "s", _TARGET), control_only=True)
def add(request: ServerRequest, target: str) -> None:
    """Send beats, sections, energy and levels to a lighting program or DMX receiver.

    Only senders that `--osc-allow` trusts may add targets.
    """
    request.core.replies.check_subscription(request.sender)
    request.core.lights.add(target)


@TABLE.add(
    "/lights/remove",
    Arg("target", "s", "a target as it was added; empty: all", default=""),
    control_only=True,
)
def remove(request: ServerRequest, target: str) -> None:
    """Stop sending to a target."""
    request.core.replies.check_subscription(request.sender)
    request.core.lights.remove(target)


@TABLE.add(
    "/lights/lead",
    Arg("milliseconds", "f", "ahead of the sound; negative: behind it", unit="ms",
        low=MIN_LIGHTS_LEAD, high=MAX_LIGHTS_LEAD),
    control_only=True,
)  # fmt: skip
def lead(request: ServerRequest, milliseconds: float) -> None:
    """Set how far ahead of the sound beats and levels are sent to lights.

    It makes up for the delay of programs, networks and lamps. The default is that of
    `--lights-lead`.
    """
    request.core.lights.set_lead(milliseconds)


@TABLE.add(
    "/lights/list",
    answers="`/lights/list.reply target state reason sent lost failures` for each target",
    control_only=True,
    changes=False,
)
def list_targets(request: ServerRequest) -> None:
    """List the targets with their states (searching, sending, failed) and counters."""
    for one in request.core.lights.outputs():
        request.reply(
            "/lights/list.reply", one["target"], one["state"], one["reason"], one["sent"],
            one["lost"], one["failures"],
        )
