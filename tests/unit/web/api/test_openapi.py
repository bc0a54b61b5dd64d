"""The command table as OpenAPI: the schemas accept exactly what the commands accept."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import TABLE
from crowdstream.control.processes.web_process import command_as_json
from crowdstream.web.api.command_api import routes
from crowdstream.web.api.commands import InvalidArguments, addresses, in_order, with_aliases
from crowdstream.web.api.openapi import openapi
from crowdstream.web.auth.middleware import AccessMiddleware
from tests.support.api_checks import kinds, problems
from tests.support.web_client import FakeWeb, ask


@pytest.fixture
def app(web: FakeWeb) -> ASGIApp:
    return web.app(routes(web))  # type: ignore[arg-type]


def test_the_openapi_document_is_valid(app: ASGIApp) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    answer = ask(app, "GET", "/api/openapi.json")
    OpenAPIV31SpecValidator(answer.json).validate()
    names = [
        operation["operationId"]
        for path in answer.json["paths"].values()
        for key, operation in path.items()
        if key == "post"
    ]
    assert len(names) == len(set(names)) == len(with_aliases(LINES)) + 1


def test_each_command_is_documented_with_ranges_choices_defaults_and_units(web: FakeWeb) -> None:
    document = openapi(web.link.table, "1")
    for command in TABLE.commands:
        path = document["paths"][f"/api{command.address}"]
        content = path["post"]["requestBody"]["content"]["application/json"]
        [by_name, _, _] = content["schema"]["anyOf"]
        assert list(by_name["properties"]) == [arg.name for arg in command.args]
        for arg in command.args:
            text = json.dumps(by_name["properties"][arg.name])
            if arg.low is not None:
                assert f'"minimum": {arg.low}' in text
            if arg.high is not None:
                assert f'"maximum": {arg.high}' in text
            if arg.unit:
                assert f"[{arg.unit}]" in text
            assert all(f'"{choice}"' in text for choice in (*arg.choices, *arg.words))
        if "{deck}" in command.address:
            assert path["parameters"][0]["schema"]["enum"] == [*"ABCDabcd"]


# Schemas and commands agree ----------------------------------------------------------------------

LINES = json.loads(json.dumps([command_as_json(one) for one in TABLE.commands]))
DOCUMENT = openapi(LINES, "1")
WILD: list[Any] = [
    None, True, False, 0, -1, 1.0, 0.5, 1e30, 3.5e38, 2**63, 2**63 - 1, -(2**63), 10**38, 10**400,
    "", "x", "A", "a", "\0", "\u212a", "low", "LOW", "x" * 64, "x" * 65, "x" * 1025, "x" * 4097,
    [], {}, [1],
]  # fmt: skip


def near(arg: dict[str, Any]) -> list[Any]:
    """Values at the limits of an argument's range, and just beyond them."""
    found: list[Any] = [*arg["choices"], *arg["words"]]
    found += [word.swapcase() for word in found]
    for limit, step in zip(arg["limits"] or (), (-1, 1), strict=False):
        found += [limit, limit + step, limit - step, limit + step / 4, limit - step / 4]
    return found or [3]


@st.composite
def bodies(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    """A command and a body that may be valid: by name or in order, with missing or extra items."""
    line = draw(st.sampled_from(LINES))
    args = line["args"]
    given: dict[str, Any] = {}
    for arg in args:
        if "default" not in arg or draw(st.booleans()):
            one = st.sampled_from([*near(arg), *near(arg), *WILD])
            given[arg["name"]] = draw(st.lists(one, max_size=3) if arg["rest"] else one)
    if draw(st.booleans()):
        if args and args[-1]["rest"] and draw(st.booleans()):
            given[args[-1]["name"]] = [draw(st.sampled_from(WILD))] * draw(
                st.sampled_from([0, 1, 2, 5, 64, 65])
            )
        if draw(st.integers(0, 9)) == 0:
            given[draw(st.sampled_from(["args", "other", "address"]))] = draw(st.sampled_from(WILD))
        return line, given
    flat = [v for one in given.values() for v in (one if isinstance(one, list) else [one])]
    cut = flat[: draw(st.integers(0, len(flat)))] if draw(st.booleans()) else flat
    listed = draw(st.permutations(cut)) if line["any_order"] else cut
    return line, {"args": listed} if draw(st.booleans()) else listed


def taken(line: dict[str, Any], body: Any) -> bool:
    """Whether the command accepts these arguments, regardless of the server's state."""
    command, _place = TABLE.find(next(addresses(line)))
    try:
        command.bind(in_order(line, body))
    except (InvalidArguments, BadArgument):
        return False
    return True


@functools.cache
def validator(address: str) -> Any:
    """A validator of request bodies of a command."""
    from jsonschema import Draft202012Validator

    operation = DOCUMENT["paths"][f"/api{address}"]["post"]
    forms = operation["requestBody"]["content"]["application/json"]["schema"]
    return Draft202012Validator(forms)


@settings(max_examples=600)
@given(bodies())
def test_a_schema_accepts_exactly_what_the_command_accepts(
    case: tuple[dict[str, Any], Any],
) -> None:
    line, body = case
    assert validator(line["address"]).is_valid(body) == taken(line, body)


def test_defaults_match_their_schema() -> None:
    from jsonschema import Draft202012Validator

    for path in DOCUMENT["paths"].values():
        forms = path.get("post", {}).get("requestBody", {}).get("content", {})
        for one in forms.get("application/json", {}).get("schema", {}).get("anyOf", [])[:1]:
            for argument in one["properties"].values():
                if "default" in argument:
                    Draft202012Validator(argument).validate(argument["default"])


@pytest.fixture
def unlimited(web: FakeWeb) -> Iterator[ASGIApp]:
    """The API without rate limits: each request comes a second after the previous one."""
    ticks = iter(range(10**6))
    web.settings.http_allowed_hosts = ("testserver",)
    web.gate = AccessMiddleware(
        web.settings, {"HOME": "/nonexistent"}, clock=lambda: float(next(ticks))
    )
    logging.disable(logging.CRITICAL)
    yield web.app(routes(web))  # type: ignore[arg-type]
    logging.disable(logging.NOTSET)


def test_schemathesis_finds_nothing(unlimited: ASGIApp) -> None:
    import schemathesis

    document = ask(unlimited, "GET", "/api/openapi.json", host="testserver").json
    chosen = kinds(document)
    assert len(chosen) > 12
    count, found = problems(
        lambda config: schemathesis.openapi.from_asgi(
            "/api/openapi.json", unlimited, config=config
        ),
        chosen,
    )
    assert not found, "\n".join(found[:10])
    assert count > 300
