"""Rooms in step: lead other rooms, or follow a leader."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.peers.rooms import MAX_LEAD, MIN_LEAD, ROLES


@TABLE.add(
    "/rooms/role",
    Arg("role", "s", "what this room does", choices=ROLES),
    Arg("address", "s", "of a follower's leader, such as `192.168.1.20`", default=""),
    control_only=True,
)
def role(request: ServerRequest, role: str, address: str) -> None:
    """Lead other rooms, follow the leader at an address, or play alone; see `--rooms`.

    The key and the folder of the music are those of the settings.
    """
    request.core.rooms.set_role(role, address)


@TABLE.add(
    "/rooms/lead",
    Arg("milliseconds", "f", "by which commands act later", unit="ms", low=1000 * MIN_LEAD,
        high=1000 * MAX_LEAD),
    control_only=True,
)
def lead(request: ServerRequest, milliseconds: float) -> None:
    """Set how much later a leader's commands act, in all rooms, than they arrive.

    It must be longer than the network and the largest difference of the output latencies.
    """
    request.core.rooms.set_lead(milliseconds / 1000.0)


@TABLE.add(
    "/rooms/status",
    answers="`/rooms/status.reply role state rooms in_step deviation error drift reason`; "
    "deviation and error of the clock in ms, of a leader the largest of its rooms; drift of a "
    "follower's output in ppm",
    control_only=True,
    changes=False,
)
def status(request: ServerRequest) -> None:
    """Query whether the rooms are in step; the states are described with the `/status`."""
    rooms = request.core.rooms
    found = rooms.readings()
    request.reply(
        "/rooms/status.reply", rooms.role, found["rooms.state"], found["rooms.count"],
        found["rooms.in_step"], found["rooms.deviation_ms"], found["rooms.error_ms"],
        found["rooms.drift_ppm"], rooms.reason,
    )
