"""`/healthz` for whoever watches over the server: 200 while it plays and can be told what to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.desk.block import Desk
from crowdstream.web.api.command_api import told
from crowdstream.web.control_client import Busy, ControlClient
from crowdstream.web.resource import resource

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

# A block is rendered in this time, whatever the buffer size: 8192 frames at 8 kHz last a second.
FRAMES_SECONDS = 2.5
LOOK_SECONDS = 0.02


class Web(Protocol):
    """What it needs of the web process (see `app.Web`)."""

    desk: Desk
    link: ControlClient


class Healthz:
    """Answers how it is."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def answer(self, _request: Request) -> Response:
        """200, or 503 with what is wrong."""
        moves, answers = await asyncio.gather(self._moves(), self._answers())
        wrong = []
        if not moves:
            wrong.append(f"the engine has rendered nothing for {FRAMES_SECONDS:g} s")
        if not answers:
            wrong.append("control does not answer")
        status = 503 if wrong else 200
        said = {"ok": not wrong, "frames_move": moves, "control_answers": answers}
        return told({**said, "reason": "; ".join(wrong)} if wrong else said, status)

    async def _moves(self) -> bool:
        # Whether the frames move on, looked at until they do.
        frame = self._web.desk.frame
        loop = asyncio.get_running_loop()
        until = loop.time() + FRAMES_SECONDS
        while loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
            if self._web.desk.frame != frame:
                return True
        return False

    async def _answers(self) -> bool:
        try:
            return bool(await self._web.link.do("/version"))
        except Busy:
            return False


def routes(web: Web) -> list[BaseRoute]:
    """The route of the health."""
    return [resource("/healthz", get=Healthz(web).answer)]
