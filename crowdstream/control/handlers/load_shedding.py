"""The load-shedding command."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.load_shedding import AUTO
from crowdstream.desk.load_shedding import LEVELS


@TABLE.add(
    "/quality",
    Arg("level", "i", "load-shedding level", low=0, high=LEVELS - 1, words=(AUTO,)),
    scheduled=True,
)
def quality(request: ServerRequest, level: int | str) -> None:
    """Hold a quality level, or let it follow the CPU load.

    Level 0 is full quality. Level 1 bypasses optional effects. Level 2 also bypasses keylock, so
    the pitch follows the tempo. Level 3 also interpolates with half the filter taps. With `auto`,
    quality drops by one level when rendering takes more than 70 percent of a block's duration or
    misses its deadline, and rises by one level after some seconds of low load. Everything that is
    bypassed is restored afterwards.
    """
    request.core.load_shedding.hold(request, None if level == AUTO else int(level))
