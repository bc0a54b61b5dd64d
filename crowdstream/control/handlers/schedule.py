"""The opening hours: query, override, reload."""

from __future__ import annotations

from crowdstream.commands.errors import CommandError, Refused
from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.opening_hours import ScheduleError, read_schedule

_STATES = {"open": True, "closed": False, "auto": None}


@TABLE.add(
    "/schedule/status",
    answers="`/schedule/status.reply open override known opens seconds`: 1 if it is open; 1 while "
    "overridden; 0 while the time of day is not known; 1 if the next change is an opening, and "
    "the seconds until then, -1 if there is none",
    control_only=True,
    changes=False,
)
def status(request: ServerRequest) -> None:
    """Query the opening hours."""
    value = request.core.opening_hours.value()
    if not value["there"]:
        raise Refused("there is no schedule: start the server with --schedule FILE")
    left = value["next"] - request.core.clock.wall() if value["next"] else -1.0
    request.reply(
        "/schedule/status.reply", value["open"], value["override"], value["known"], value["opens"],
        float(left),
    )


@TABLE.add(
    "/schedule/override",
    Arg("state", "s", "open, closed, or auto: as the schedule says", choices=tuple(_STATES)),
    control_only=True,
    idempotent=True,
)
def override(request: ServerRequest, state: str) -> None:
    """Open or close until the next change of the schedule."""
    request.core.opening_hours.override(_STATES[state])


@TABLE.add("/schedule/reload", control_only=True)
def reload(request: ServerRequest) -> None:
    """Read the schedule's file again. If it is not valid, the present schedule stays."""
    path = request.core.settings.schedule
    if path is None:
        raise Refused("there is no schedule: start the server with --schedule FILE")
    try:
        schedule = read_schedule(path)
    except ScheduleError as error:
        raise CommandError(str(error)) from error
    request.core.opening_hours.set_schedule(schedule)
