"""The command table over HTTP: `POST /api/<address>` runs a command and returns its OSC replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.system.text import to_json
from crowdstream.web.api.commands import Command, Commands, InvalidArguments, in_order, parse_json
from crowdstream.web.api.openapi import MAX_COMMANDS, openapi
from crowdstream.web.control_client import Answer, Busy, ControlClient
from crowdstream.web.resource import resource

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

FAILED = 422
NO_STORE = {"Cache-Control": "no-store"}
# The first values of /status.reply have no names: they are the positional ones of SuperCollider.
STATUS_POSITIONAL_FIELDS = (
    "one", "sounding_voices", "sounding_stems", "decks", "buffers", "cpu_average", "cpu_peak",
    "sample_rate_asked", "sample_rate_actual",
)  # fmt: skip


class JsonResponse(Response):
    """A JSON response; infinities and NaN become null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode `content` as JSON in UTF-8."""
        return to_json(content).encode()


def json_response(content: Any, status: int = 200) -> JsonResponse:
    """A JSON response that must not be cached."""
    return JsonResponse(content, status, NO_STORE)


def error_response(status: int, reason: str) -> JsonResponse:
    """A JSON response with the reason for a failure."""
    return json_response({"error": reason}, status)


def _unknown(address: str) -> JsonResponse:
    return error_response(404, f"unknown address {address[:200]}: see /api/commands")


def _address(request: Request) -> str:
    return str(request.scope["path"]).removeprefix("/api")


class Web(Protocol):
    """The part of `app.Web` that this module uses."""

    link: ControlClient


class CommandApi:
    """Handlers of the requests under `/api`."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._commands = Commands()
        self._document: tuple[Any, bytes] = (None, b"")

    def routes(self) -> list[BaseRoute]:
        """The routes. Commands come last, since their pattern matches every remaining path."""
        return [
            resource("/api/commands", get=self.commands),
            resource("/api/openapi.json", get=self.openapi),
            resource("/api/picture", get=self.picture),
            resource("/api/status", get=self.status, post=self.command),  # also a command
            resource("/api/batch", post=self.batch),
            resource("/api/{address:path}", post=self.command, missing=self._missing),
        ]

    async def commands(self, _request: Request) -> Response:
        """Handle `GET /api/commands`: the command table."""
        return json_response(self._web.link.table)

    async def openapi(self, _request: Request) -> Response:
        """Handle `GET /api/openapi.json`: the command table as OpenAPI 3.1."""
        table = self._web.link.table
        if self._document[0] is not table:
            version = str(self._web.link.about.get("version", "0"))
            # Kept as bytes, which take a tenth of the memory.
            self._document = (table, bytes(JsonResponse(openapi(table, version)).body))
        return Response(self._document[1], media_type="application/json", headers=NO_STORE)

    async def picture(self, _request: Request) -> Response:
        """Handle `GET /api/picture`: the complete state, as pages receive it."""
        try:
            return json_response(await self._web.link.complete_picture())
        except Busy as error:
            return error_response(503, str(error))

    async def status(self, _request: Request) -> Response:
        """Handle `GET /api/status`: the values of /status.reply by name."""
        try:
            answers = await self._web.link.do("/status")
        except Busy as error:
            return error_response(503, str(error))
        for address, *values in answers:
            if address == "/status.reply":
                first, rest = (
                    values[: len(STATUS_POSITIONAL_FIELDS)],
                    values[len(STATUS_POSITIONAL_FIELDS) :],
                )
                named = dict(zip(rest[::2], rest[1::2], strict=False))
                return json_response(
                    {**dict(zip(STATUS_POSITIONAL_FIELDS[1:], first[1:], strict=False)), **named}
                )
        return error_response(503, "the server has not sent its status")

    def _known(self) -> dict[str, Command]:
        return self._commands.of(self._web.link.table)

    def _missing(self, request: Request) -> Response | None:
        address = _address(request)
        if address in self._known():
            return None
        return _unknown(address)

    async def command(self, request: Request) -> Response:
        """Handle `POST /api/<address>`: one command."""
        address = _address(request)
        body = await request.body()
        try:
            arguments = in_order(self._known()[address], parse_json(body)) if body else []
            message = [address, *arguments]
        except InvalidArguments as error:
            return error_response(400, str(error))
        return await self._carry_out([message])

    async def batch(self, request: Request) -> Response:
        """Handle `POST /api/batch`: several commands that take effect on the same frame."""
        known = self._known()
        batch: list[Answer] = []
        try:
            entries = parse_json(await request.body())
            if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_COMMANDS:
                raise InvalidArguments(f"a batch must be a list of 1 to {MAX_COMMANDS} commands")
            for one in entries:
                arguments: Any
                if isinstance(one, list) and one and isinstance(one[0], str):
                    address, arguments = one[0], one[1:]
                elif isinstance(one, dict) and isinstance(one.get("address"), str):
                    rest = {name: value for name, value in one.items() if name != "address"}
                    address, arguments = one["address"], rest
                else:
                    raise InvalidArguments(
                        'a command must be ["/address", ...] or {"address": ..., ...}'
                    )
                if address not in known:
                    return _unknown(address)
                batch.append([address, *in_order(known[address], arguments)])
        except InvalidArguments as error:
            return error_response(400, str(error))
        return await self._carry_out(batch)

    async def _carry_out(self, batch: list[Answer]) -> Response:
        try:
            answers = await self._web.link.do_all(batch)
        except Busy as error:
            return error_response(503, str(error))
        failures = [answer for answer in answers if answer and answer[0] == "/fail"]
        if not failures:
            return json_response(answers)
        reason = str(failures[0][2]) if len(failures[0]) > 2 else "the command failed"
        # The other commands of a batch have been carried out.
        status = 207 if len(batch) > len(failures) else FAILED
        return json_response({"error": reason, "answers": answers}, status)


def routes(web: Web) -> list[BaseRoute]:
    """The routes of the API."""
    return CommandApi(web).routes()
