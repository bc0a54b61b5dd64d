"""The MCP server's results of tools."""

from __future__ import annotations

import asyncio
import json
import math
from types import SimpleNamespace
from typing import Any

import mcp_types as types
import pytest

from crowdstream.mcp.consent import Consent
from crowdstream.mcp.server import ToolServer


class FakeClient:
    """A client whose server always returns the same values."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    async def call(self, _address: str, *_arguments: Any, **_options: Any) -> tuple[Any, ...]:
        """Return the values."""
        return self._values


def use(
    name: str, arguments: dict[str, Any], allowed: tuple[str, ...], *values: Any
) -> types.CallToolResult:
    """Use a tool with the consent to some addresses, for a program that cannot ask its user."""
    server = ToolServer(FakeClient(*values), Consent(allowed))  # type: ignore[arg-type]
    params = types.CallToolRequestParams(name=name, arguments=arguments)
    context = SimpleNamespace(session=SimpleNamespace(client_capabilities=None))
    result = asyncio.run(server._call(context, params))  # type: ignore[arg-type]
    assert isinstance(result, types.CallToolResult)
    return result


def result_of(name: str, *values: Any) -> Any:
    """Use the tool `name`; return its structured result."""
    result = use(name, {}, (), *values)
    assert not result.is_error
    assert json.loads(result.content[0].text) == result.structured_content  # type: ignore[union-attr]
    return result.structured_content


def test_a_schedule_without_a_next_change_can_be_queried() -> None:
    found = result_of("schedule_status", 1, 0, 1, 0, -1.0)
    assert found["reply"]["open"] is True and found["reply"]["seconds"] is None
    assert result_of("schedule_status", 1, 0, 1, 0, 60.0)["reply"]["seconds"] == 60.0


def test_numbers_that_json_cannot_express_are_null() -> None:
    assert result_of("clock_time", math.nan, -math.inf, 1.5)["reply"] == [None, None, 1.5]


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        (("/clock/*",), True), (("/deck/*",), True), (("/clock/*", "/deck/*/stop"), False),
        (("*",), False),
    ],
)
@pytest.mark.parametrize(
    ("name", "arguments"), [("clock_at", {"beat": 8}), ("clock_next", {"quantum": "bar"})]
)
def test_a_command_that_is_scheduled_needs_consent_as_well(
    name: str, arguments: dict[str, Any], allowed: tuple[str, ...], refused: bool
) -> None:
    result = use(name, {**arguments, "address": "/deck/A/stop"}, allowed)
    assert bool(result.is_error) is refused
