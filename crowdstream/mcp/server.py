"""The MCP server: lists the tools, asks for consent, and sends the commands."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import mcp_types as types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

import crowdstream
from crowdstream.client import AsyncClient, ClientError
from crowdstream.client.calls import Reply
from crowdstream.client.results import (
    ClockBeat,
    parse_dj_status,
    parse_events,
    parse_record_status,
    parse_schedule_status,
    parse_status,
    parse_version,
    parse_waiting,
)
from crowdstream.mcp.consent import Consent
from crowdstream.mcp.tools import BadArguments, CommandCall, CommandTool, tools

log = logging.getLogger(__name__)

INSTRUCTIONS = (
    "The tools control a running CrowdStream server, which mixes music for an audience: decks A to "
    "D, each with a track of up to 8 stems. What changes the sound is audible at once. Begin with "
    "the tool `status`. Times are beats of the clock (`clock_beat`); most tools take `at_beat`."
)
NEEDS_CONSENT = "Changes the server and needs consent. "
_QUESTION = "consent"
_ALWAYS = "always"
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        _ALWAYS: {
            "type": "boolean", "default": False,
            "title": "Allow this tool without asking until this program ends",
        }
    },
}  # fmt: skip
# Queries whose reply has names.
_NAMED: dict[str, Callable[[Reply], Any]] = {
    "/status": parse_status,
    "/version": lambda values: parse_version(values)._asdict(),
    "/clock/beat": lambda values: ClockBeat(*values)._asdict(),
    "/events": lambda values: [event._asdict() for event in parse_events(values)],
    "/waiting": lambda values: [message._asdict() for message in parse_waiting(values)],
    "/record/status": lambda values: parse_record_status(values)._asdict(),
    "/schedule/status": lambda values: parse_schedule_status(values)._asdict(),
    "/dj/status": lambda values: parse_dj_status(values)._asdict(),
}

Outcome: TypeAlias = "types.CallToolResult | types.InputRequiredResult"


class ToolServer:
    """The tools of one connection. `client` is connected to the CrowdStream server."""

    def __init__(self, client: AsyncClient, consent: Consent) -> None:
        self._client = client
        self._consent = consent
        self._tools = tools()
        self.protocol: Server[Any] = Server(
            "crowdstream", version=crowdstream.__version__, instructions=INSTRUCTIONS,
            on_list_tools=self._list, on_call_tool=self._call,
        )  # fmt: skip

    async def serve_stdio(self) -> None:
        """Serve on standard input and output until the input is closed."""
        async with stdio_server() as (incoming, outgoing):
            options = self.protocol.create_initialization_options()
            await self.protocol.run(incoming, outgoing, options)

    async def _list(
        self, _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[self._tool(tool) for tool in self._tools.values()])

    def _tool(self, tool: CommandTool) -> types.Tool:
        command = tool.command
        refused = command.writes and not self._consent.allows(tool.name, command.address)
        return types.Tool(
            name=tool.name,
            description=(NEEDS_CONSENT if refused else "") + tool.description,
            input_schema=tool.schema,
            annotations=types.ToolAnnotations(
                read_only_hint=not command.writes,
                destructive_hint=command.writes,
                idempotent_hint=command.repeatable,
                open_world_hint=False,
            ),
        )

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> Outcome:
        tool = self._tools.get(params.name)
        if tool is None:
            return _refused(f"there is no tool {params.name!r}")
        try:
            call = tool.bind(params.arguments or {})
        except BadArguments as error:
            return _refused(str(error))
        if tool.command.writes and not self._consent.allows(tool.name, *call.addresses):
            outcome = await self._ask(context, params, tool, call)
            if outcome is not None:
                return outcome
        return await self._carry_out(tool, call)

    async def _ask(
        self,
        context: ServerRequestContext[Any],
        params: types.CallToolRequestParams,
        tool: CommandTool,
        call: CommandCall,
    ) -> Outcome | None:
        # None: the user has consented.
        arguments = params.arguments or {}
        responses = params.input_responses
        if responses is not None and _QUESTION in responses:
            if not self._consent.redeem(params.request_state, tool.name, arguments):
                return _refused(f"{call}: the answer belongs to another question; ask again")
            return self._judge(responses[_QUESTION], tool, call)
        capabilities = context.session.client_capabilities
        if capabilities is None or capabilities.elicitation is None:
            patterns = " ".join(
                f"'{address}'" for address in (tool.command.address, *call.addresses[1:])
            )
            return _refused(
                f"{call}: refused, because it changes the server. Start crowdstream mcp with "
                f"--allow-write, or with --allow-write {patterns} in which * stands "
                "for what is in braces, or use a client that can ask its user (elicitation)"
            )
        question = types.ElicitRequestFormParams(
            message=f"Allow this command to the music server? {call}", requested_schema=_FORM
        )
        try:
            answer = await context.session.elicit_form(
                question.message, _FORM, related_request_id=context.request_id
            )
        except MCPError:
            # The protocol's present version has no requests to the client: it repeats the call.
            return types.InputRequiredResult(
                input_requests={_QUESTION: types.ElicitRequest(params=question)},
                request_state=self._consent.ask(tool.name, arguments),
            )
        return self._judge(answer, tool, call)

    def _judge(self, answer: Any, tool: CommandTool, call: CommandCall) -> Outcome | None:
        if not isinstance(answer, types.ElicitResult) or answer.action != "accept":
            return _refused(f"{call}: the user has not allowed it")
        if (answer.content or {}).get(_ALWAYS) is True:
            self._consent.remember(tool.name)
        return None

    async def _carry_out(self, tool: CommandTool, call: CommandCall) -> types.CallToolResult:
        if tool.command.writes:
            log.info("%s", call)
        try:
            if call.at_beat is None:
                values = await self._client.call(call.address, *call.arguments)
            else:
                values = await self._client.call(
                    call.address, *call.arguments, at_beat=call.at_beat
                )
        except ClientError as error:
            return _refused(str(error))
        named = _NAMED.get(call.address)
        return _result({"address": call.address, "reply": named(values) if named else values})


def _result(found: Mapping[str, Any]) -> types.CallToolResult:
    text = json.dumps(_finite(found), allow_nan=False, default=str)
    return types.CallToolResult(
        content=[types.TextContent(text=text)], structured_content=json.loads(text)
    )


def _finite(value: Any) -> Any:
    # JSON has no infinity, which `schedule_status` replies if there is no next change.
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refused(reason: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=reason)], is_error=True)


async def serve(host: str, port: int, patterns: tuple[str, ...]) -> None:
    """Serve the commands of a CrowdStream server on standard input and output.

    Raises `OSError` for an unknown host.
    """
    async with AsyncClient(host, port) as client:
        await ToolServer(client, Consent(patterns)).serve_stdio()
