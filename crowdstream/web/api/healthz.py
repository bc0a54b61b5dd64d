"""`/healthz` for monitoring: 200 while the engine renders and control carries out commands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.desk.block import Desk
from crowdstream.web.api.command_api import json_response
from crowdstream.web.control_client import Busy, ControlClient
from crowdstream.web.resource import resource

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

# Rendering any block takes less, whatever the buffer size: 8192 frames at 8 kHz last one second.
FRAMES_SECONDS = 2.5
POLL_SECONDS = 0.02


class Web(Protocol):
    """The part of `app.Web` that this module uses."""

    desk: Desk
    link: ControlClient


class Healthz:
    """Handler of `/healthz`."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def answer(self, _request: Request) -> Response:
        """Return 200, or 503 with the reasons."""
        moves, answers = await asyncio.gather(self._moves(), self._answers())
        wrong = []
        if not moves:
            wrong.append(f"the engine has rendered nothing for {FRAMES_SECONDS:g} s")
        if not answers:
            wrong.append("control does not respond")
        status = 503 if wrong else 200
        report = {"ok": not wrong, "frames_move": moves, "control_answers": answers}
        return json_response(
            {**report, "reason": "; ".join(wrong)} if wrong else report, status
        )

    async def _moves(self) -> bool:
        # Whether the frame counter advances; returns as soon as it does.
        frame = self._web.desk.frame
        loop = asyncio.get_running_loop()
        until = loop.time() + FRAMES_SECONDS
        while loop.time() < until:
            await asyncio.sleep(POLL_SECONDS)
            if self._web.desk.frame != frame:
                return True
        return False

    async def _answers(self) -> bool:
        try:
            return bool(await self._web.link.do("/version"))
        except Busy:
            return False


def routes(web: Web) -> list[BaseRoute]:
    """The route of `/healthz`."""
    return [resource("/healthz", get=Healthz(web).answer)]
