"""The command table as HTTP: `POST /api/<address>` does what OSC does, and says what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.system.json_text import encoded
from crowdstream.web.api.arguments import Unusable, in_order, parse_json
from crowdstream.web.api.commands import Command, Commands
from crowdstream.web.api.openapi import MAX_COMMANDS, openapi
from crowdstream.web.control_client import Answer, Busy, ControlClient
from crowdstream.web.resource import resource

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

FAILED = 422
NO_STORE = {"Cache-Control": "no-store"}
# The first values of the status have no names in OSC, where they are those of SuperCollider.
STATUS_POSITIONAL_FIELDS = (
    "one", "sounding_voices", "sounding_stems", "decks", "buffers", "cpu_average", "cpu_peak",
    "sample_rate_asked", "sample_rate_actual",
)  # fmt: skip


class JsonResponse(Response):
    """JSON that may hold numbers without end: these are null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """`content` as JSON in UTF-8."""
        return encoded(content).encode()


def told(content: Any, status: int = 200) -> JsonResponse:
    """An answer that nobody keeps."""
    return JsonResponse(content, status, NO_STORE)


def wrong(status: int, reason: str) -> JsonResponse:
    """An answer that says what is wrong."""
    return told({"error": reason}, status)


def _address(request: Request) -> str:
    return str(request.scope["path"]).removeprefix("/api")


class Web(Protocol):
    """What it needs of the web process (see `app.Web`)."""

    link: ControlClient


class CommandApi:
    """Answers what is under `/api`."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._commands = Commands()
        self._document: tuple[Any, bytes] = (None, b"")

    def routes(self) -> list[BaseRoute]:
        """Where it is served. The addresses of commands come last: they are whatever is left."""
        return [
            resource("/api/commands", get=self.commands),
            resource("/api/openapi.json", get=self.openapi),
            resource("/api/picture", get=self.picture),
            resource("/api/status", get=self.status, post=self.command),  # also a command
            resource("/api/batch", post=self.batch),
            resource("/api/{address:path}", post=self.command, missing=self._missing),
        ]

    async def commands(self, _request: Request) -> Response:
        """The command table."""
        return told(self._web.link.table)

    async def openapi(self, _request: Request) -> Response:
        """The same as OpenAPI 3.1."""
        table = self._web.link.table
        if self._document[0] is not table:
            version = str(self._web.link.about.get("version", "0"))
            # As text: it takes a tenth of the memory.
            self._document = (table, bytes(JsonResponse(openapi(table, version)).body))
        return Response(self._document[1], media_type="application/json", headers=NO_STORE)

    async def picture(self, _request: Request) -> Response:
        """Everything that pages show."""
        try:
            return told(await self._web.link.seen())
        except Busy as error:
            return wrong(503, str(error))

    async def status(self, _request: Request) -> Response:
        """What `/status` answers, by name."""
        try:
            answers = await self._web.link.do("/status")
        except Busy as error:
            return wrong(503, str(error))
        for address, *values in answers:
            if address == "/status.reply":
                first, rest = (
                    values[: len(STATUS_POSITIONAL_FIELDS)],
                    values[len(STATUS_POSITIONAL_FIELDS) :],
                )
                named = dict(zip(rest[::2], rest[1::2], strict=False))
                return told(
                    {**dict(zip(STATUS_POSITIONAL_FIELDS[1:], first[1:], strict=False)), **named}
                )
        return wrong(503, "the server does not say how it is")

    def _known(self) -> dict[str, Command]:
        return self._commands.of(self._web.link.table)

    def _missing(self, request: Request) -> Response | None:
        address = _address(request)
        if address in self._known():
            return None
        return wrong(404, f"unknown address {address[:200]}: see /api/commands")

    async def command(self, request: Request) -> Response:
        """One command."""
        address = _address(request)
        body = await request.body()
        try:
            arguments = in_order(self._known()[address], parse_json(body)) if body else []
            message = [address, *arguments]
        except Unusable as error:
            return wrong(400, str(error))
        return await self._carry_out([message])

    async def batch(self, request: Request) -> Response:
        """Several commands that act on one frame."""
        known = self._known()
        batch: list[Answer] = []
        try:
            said = parse_json(await request.body())
            if not isinstance(said, list) or not 1 <= len(said) <= MAX_COMMANDS:
                raise Unusable(f"a batch is a list of 1 to {MAX_COMMANDS} commands")
            for one in said:
                arguments: Any
                if isinstance(one, list) and one and isinstance(one[0], str):
                    address, arguments = one[0], one[1:]
                elif isinstance(one, dict) and isinstance(one.get("address"), str):
                    rest = {name: value for name, value in one.items() if name != "address"}
                    address, arguments = one["address"], rest
                else:
                    raise Unusable('a command is ["/address", ...] or {"address": ..., ...}')
                if address not in known:
                    return wrong(404, f"unknown address {address[:200]}: see /api/commands")
                batch.append([address, *in_order(known[address], arguments)])
        except Unusable as error:
            return wrong(400, str(error))
        return await self._carry_out(batch)

    async def _carry_out(self, batch: list[Answer]) -> Response:
        try:
            answers = await self._web.link.do_all(batch)
        except Busy as error:
            return wrong(503, str(error))
        failures = [answer for answer in answers if answer and answer[0] == "/fail"]
        if not failures:
            return told(answers)
        reason = str(failures[0][2]) if len(failures[0]) > 2 else "it failed"
        # The others of a batch have been carried out.
        status = 207 if len(batch) > len(failures) else FAILED
        return told({"error": reason, "answers": answers}, status)


def routes(web: Web) -> list[BaseRoute]:
    """The routes of the API."""
    return CommandApi(web).routes()
