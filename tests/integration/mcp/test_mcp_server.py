"""`crowdstream mcp` over standard input and output, with the mcp package's client and a server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters

from crowdstream.mcp.server import NEEDS_CONSENT
from crowdstream.system.text import install_command
from tests.support.environment import PROJECT
from tests.support.server import Running, SharedServer, free_port

MODES = ("legacy", "auto")  # the handshake of earlier protocol versions, and the present version


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    options = ("--driver", "null", "--standby", "off", "--cache-mb", "64")
    with SharedServer(tmp_path_factory.mktemp("server"), *options) as one:
        yield one


@pytest.fixture
def running(shared: SharedServer) -> Running:
    return shared.get()


def program(port: int, *options: str) -> StdioServerParameters:
    """The command `crowdstream mcp`."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "crowdstream", "mcp", "--port", str(port), *options],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=PROJECT,
    )


class User:
    """Answers questions with `action`, and keeps them in `asked`."""

    def __init__(self, action: str, always: bool = False) -> None:
        self.asked: list[str] = []
        self._result = types.ElicitResult.model_validate(
            {"action": action, "content": {"always": always} if action == "accept" else None}
        )

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        """Answer a question."""
        self.asked.append(params.message)
        return self._result


def text(result: types.CallToolResult) -> str:
    """The text of a result."""
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return str(content.text)


@pytest.mark.parametrize("mode", MODES)
def test_reading_is_open_and_writing_is_refused_without_consent(
    running: Running, mode: str
) -> None:
    async def main() -> None:
        async with Client(program(running.port), mode=mode) as client:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            status, level = listed["status"], listed["deck_level"]
            assert status.annotations and status.annotations.read_only_hint
            assert level.annotations and not level.annotations.read_only_hint
            assert str(level.description).startswith(NEEDS_CONSENT)
            assert not str(status.description).startswith(NEEDS_CONSENT)
            result = await client.call_tool("status")
            assert not result.is_error
            assert json.loads(text(result)) == result.structured_content
            assert result.structured_content["reply"]["driver"] == "null"
            beat = await client.call_tool("clock_beat")
            assert beat.structured_content["reply"]["bpm"] > 0
            refused = await client.call_tool("deck_level", {"deck": "A", "gain": 0.5})
            assert refused.is_error and "--allow-write '/deck/{deck}/level'" in text(refused)

    before = running.client.status()["deck.A.level"]
    asyncio.run(main())
    assert running.client.status()["deck.A.level"] == before


@pytest.mark.parametrize("mode", MODES)
def test_patterns_allow_some_tools(running: Running, mode: str) -> None:
    async def main() -> None:
        async with Client(program(running.port, "--allow-write", "/deck/*"), mode=mode) as client:
            done = await client.call_tool("deck_level", {"deck": "A", "gain": 0.25, "seconds": 0})
            assert not done.is_error
            assert done.structured_content == {"address": "/deck/A/level", "reply": []}
            late = await client.call_tool(
                "deck_level", {"deck": "B", "gain": 0.5, "at_beat": 1000000}
            )
            assert not late.is_error
            waiting = await client.call_tool("waiting")
            assert waiting.structured_content["reply"][0]["address"] == "/deck/B/level"
            refused = await client.call_tool("clock_tempo", {"bpm": 90})
            assert refused.is_error
            wrong = await client.call_tool("deck_level", {"deck": "A", "gain": 99})
            assert wrong.is_error and "out of range" in text(wrong)
            unknown = await client.call_tool("deck_level", {"deck": "A", "volume": 1})
            assert unknown.is_error and "gain is missing" in text(unknown)

    asyncio.run(main())
    assert running.client.status()["deck.A.level"] == 0.25
    running.client.send("/cancel")


@pytest.mark.parametrize("mode", MODES)
def test_the_user_is_asked(running: Running, mode: str) -> None:
    async def use(user: User, times: int = 1) -> list[types.CallToolResult]:
        async with Client(program(running.port), mode=mode, elicitation_callback=user) as client:
            arguments = {"deck": "C", "gain": 0.125, "seconds": 0}
            return [await client.call_tool("deck_level", arguments) for _ in range(times)]

    running.client.send("/deck/C/level", 1.0, 0.0)
    no = User("decline")
    [result] = asyncio.run(use(no))
    assert result.is_error and "not allowed" in text(result)
    assert no.asked == ["Allow this command to the music server? /deck/C/level 0.125 0"]
    assert running.client.status()["deck.C.level"] == 1.0
    yes = User("accept")
    assert [one.is_error for one in asyncio.run(use(yes, 2))] == [False, False]
    assert len(yes.asked) == 2
    assert running.client.status()["deck.C.level"] == 0.125
    always = User("accept", always=True)
    assert [one.is_error for one in asyncio.run(use(always, 2))] == [False, False]
    assert len(always.asked) == 1


def test_a_forged_answer_is_refused(running: Running) -> None:
    async def main() -> None:
        async with Client(program(running.port), elicitation_callback=User("accept")) as client:
            result = await client.session.call_tool(
                "deck_level", {"deck": "A", "gain": 0.5},
                input_responses={"consent": types.ElicitResult(action="accept")},
                request_state="invented",
            )  # fmt: skip
            assert isinstance(result, types.CallToolResult)
            assert result.is_error and "another question" in text(result)

    asyncio.run(main())


def test_a_server_that_is_not_running_is_reported() -> None:
    async def main() -> None:
        async with Client(program(free_port())) as client:
            result = await client.call_tool("status")
            assert result.is_error and "no program listens" in text(result)

    asyncio.run(main())


def test_the_extra_is_named_if_it_is_missing() -> None:
    code = (
        "import sys; sys.modules['mcp'] = sys.modules['mcp_types'] = None; "
        "from crowdstream.mcp.cli import run_mcp; sys.exit(run_mcp([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False
    )
    assert done.returncode == 1
    assert install_command("mcp>=2.3") in done.stderr
