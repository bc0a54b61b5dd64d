"""The command about what may be left out to save time."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.load_shedding import AUTO
from crowdstream.desk.load_shedding import LEVELS


@TABLE.add(
    "/quality",
    Arg("level", "i", "what is left out", low=0, high=LEVELS - 1, words=(AUTO,)),
    scheduled=True,
)
def quality(request: ServerRequest, level: int | str) -> None:
    """Hold a level of quality, or let it follow the load.

    0 is full. 1 leaves out optional effects, 2 keylock, too: the pitch goes with the tempo. 3
    interpolates with half the taps. With `auto` it is lowered a step when rendering takes more than
    70 percent of a block's time, or too long, and restored a step after some calm seconds. What is
    left out is remembered, and comes back.
    """
    request.core.quality.hold(request, None if level == AUTO else int(level))
