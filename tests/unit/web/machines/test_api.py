"""The command table as HTTP."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.types import ASGIApp

from crowdstream.control.table import TABLE
from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.web.machines.api import NINE, routes
from crowdstream.web.machines.arguments import Unusable, in_order
from crowdstream.web.machines.commands import addresses
from crowdstream.web.machines.openapi import openapi
from tests.support.web_client import FakeWeb, ask


@pytest.fixture
def app(web: FakeWeb) -> ASGIApp:
    return web.app(routes(web))  # type: ignore[arg-type]


def level(web: FakeWeb, deck: int = 0) -> float:
    return float(web.desk.ramps["target"][deck_level_ramp(deck)])


def test_commands_are_listed_as_the_table_has_them(web: FakeWeb, app: ASGIApp) -> None:
    told = ask(app, "GET", "/api/commands").json
    assert [one["address"] for one in told] == [one.address for one in TABLE.commands]


def test_a_command_does_what_it_does_by_osc(web: FakeWeb, app: ASGIApp) -> None:
    answer = ask(app, "POST", "/api/deck/A/level", {"args": [0.25, 0]})
    assert (answer.status, answer.json) == (200, [])
    web.link.rig.run(512)
    assert level(web) == 0.25
    assert ask(app, "POST", "/api/deck/b/level", {"gain": 0.5}).status == 200
    web.link.rig.run(512)
    assert level(web, 1) == 0.5
    assert ask(app, "POST", "/api/deck/A/level", [0.75]).status == 200
    assert web.link.done[-1] == [["/deck/A/level", 0.75]]


def test_answers_come_back(web: FakeWeb, app: ASGIApp) -> None:
    answer = ask(app, "POST", "/api/version")
    assert answer.json[0][:2] == ["/version.reply", "crowdstream"]
    assert answer.headers["cache-control"] == "no-store"


def test_a_failure_says_why_and_changes_nothing(web: FakeWeb, app: ASGIApp) -> None:
    before = web.link.rig.state()
    refused = ask(app, "POST", "/api/deck/A/level", {"gain": 9})
    assert refused.status == 422
    assert "out of range" in refused.json["error"]
    assert refused.json["answers"][0][0] == "/fail"
    assert ask(app, "POST", "/api/deck/A/play").status == 422
    assert web.link.rig.state() == before


def test_what_is_no_command_is_said(app: ASGIApp) -> None:
    assert ask(app, "POST", "/api/deck/E/level", {"gain": 1}).status == 404
    assert ask(app, "POST", "/api/deck/{deck}/level", {"gain": 1}).status == 404
    assert ask(app, "GET", "/api/deck/A/level").status == 405
    assert ask(app, "POST", "/api/").status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"\xff", b'{"gain": NaN}', b'{"gain": Infinity}', b'{"gain": 1e999}', b'"text"',
        b'{"gain": null}', b'{"gain": [1]}', b'{"loudness": 1}', b'{"seconds": 1}', b"1", b"true",
        b"[" * 30000, b'{"args": {}}', b'{"args": [{"a": 1}]}', b'{"args": [' + b"9" * 5000 + b"]}",
        b'["\\ud800"]', b'{"args": [1], "gain": 1}',
    ],
)  # fmt: skip
def test_what_are_no_arguments_is_said(web: FakeWeb, app: ASGIApp, body: bytes) -> None:
    answer = ask(app, "POST", "/api/deck/A/level", body)
    assert answer.status == 400 and answer.json["error"]
    assert not web.link.done


def test_arguments_by_name_are_put_in_order(web: FakeWeb) -> None:
    table = {one["address"]: one for one in web.link.table}

    def ordered(command: str, **said: Any) -> list[Any]:
        return in_order(table[command], said)

    assert ordered("/play_stem", id=100, loop=0) == [100, 1.0, 0.8, 0]
    assert ordered("/start_group", decks=["A", "B"]) == [0.0, "A", "B"]
    assert ordered("/start_group", start_at=2.0, decks="C") == [2.0, "C"]
    assert ordered("/clock/next", quantum="bar", address="/deck/A/play") == ["bar", "/deck/A/play"]
    assert ordered("/deck_levels", a=1.0) == [1.0]
    with pytest.raises(Unusable, match="b is missing, and c comes after it"):
        ordered("/deck_levels", a=1.0, c=0.5)


def test_a_file_name_that_is_no_unicode_arrives(web: FakeWeb, app: ASGIApp) -> None:
    ask(app, "POST", "/api/deck/A/load", b'{"path": "/no/such\\udcff.wav"}')
    assert web.link.done[-1] == [["/deck/A/load", "/no/such\udcff.wav"]]


def test_a_batch_acts_on_one_frame(web: FakeWeb, app: ASGIApp) -> None:
    batch = [["/deck/A/level", 0.5, 0], {"address": "/deck/B/level", "gain": 0.25, "seconds": 0}]
    assert ask(app, "POST", "/api/batch", batch).status == 200
    assert web.link.done == [[["/deck/A/level", 0.5, 0], ["/deck/B/level", 0.25, 0]]]
    web.link.rig.run(256)
    assert (level(web, 0), level(web, 1)) == (0.5, 0.25)


def test_a_batch_of_which_some_fail(web: FakeWeb, app: ASGIApp) -> None:
    answer = ask(app, "POST", "/api/batch", [["/deck/A/level", 0.5, 0], ["/deck/B/level", 9]])
    assert answer.status == 207 and "out of range" in answer.json["error"]
    web.link.rig.run(256)
    assert level(web) == 0.5
    assert ask(app, "POST", "/api/batch", [["/deck/B/level", 9]]).status == 422


@pytest.mark.parametrize("said", [[], {}, [[]], [[1]], [["/version"]] * 300, ["/version"], None])
def test_what_is_no_batch(web: FakeWeb, app: ASGIApp, said: Any) -> None:
    assert ask(app, "POST", "/api/batch", said).status == 400
    assert ask(app, "POST", "/api/batch", [["/version"], ["/nowhere"]]).status == 404
    assert not web.link.done, "nothing of it is carried out"


def test_the_status_by_name(web: FakeWeb, app: ASGIApp) -> None:
    status = ask(app, "GET", "/api/status").json
    assert status["decks"] == 4 and status["sample_rate_actual"] == 44100
    assert set(NINE[1:]) | set(web.link.rig.status()) == set(status)


def test_the_picture(web: FakeWeb, app: ASGIApp) -> None:
    web.link.picture = {"deck.A": {"lufs": -math.inf, "track": "x"}}
    assert ask(app, "GET", "/api/picture").json == {"deck.A": {"lufs": None, "track": "x"}}


def test_a_control_that_does_not_answer_is_said(web: FakeWeb, app: ASGIApp) -> None:
    web.link.busy = True
    for method, path in (("GET", "status"), ("GET", "picture"), ("POST", "version")):
        assert ask(app, method, f"/api/{path}").status == 503
    assert ask(app, "GET", "/api/commands").status == 200


# OpenAPI ---------------------------------------------------------------------------------------


def test_the_openapi_document_is_one(app: ASGIApp) -> None:
    answer = ask(app, "GET", "/api/openapi.json")
    OpenAPIV31SpecValidator(answer.json).validate()
    names = [
        operation["operationId"]
        for path in answer.json["paths"].values()
        for key, operation in path.items()
        if key == "post"
    ]
    assert len(names) == len(set(names)) == len(TABLE.commands) + 1


def test_each_command_is_in_it_with_ranges_choices_defaults_and_units(web: FakeWeb) -> None:
    document = openapi(web.link.table, "1")
    for command in TABLE.commands:
        path = document["paths"][f"/api{command.address}"]
        [by_name, _] = path["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
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
            assert path["parameters"][0]["schema"]["enum"] == ["A", "B", "C", "D"]


def values(arg: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that are likely to fit, and others."""
    wild = st.one_of(
        st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20),
        st.booleans(),
    )  # fmt: skip
    if arg["choices"] or arg["words"]:
        return st.one_of(st.sampled_from([*arg["choices"], *arg["words"]]), wild)
    if arg["type"] == "i" and arg["low"] is not None and arg["high"] is not None:
        return st.one_of(st.integers(int(arg["low"]), int(arg["high"])), wild)
    if arg["type"] == "f" and arg["low"] is not None and arg["high"] is not None:
        return st.one_of(st.floats(arg["low"], arg["high"]), wild)
    return wild


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_the_schema_takes_control_takes_and_nothing_is_an_error_of_ours(
    web: FakeWeb, app: ASGIApp, data: st.DataObject
) -> None:
    command = data.draw(st.sampled_from(web.link.table))
    address = data.draw(st.sampled_from(list(addresses(command))))
    body: dict[str, Any] = {}
    for arg in command["args"]:
        if "default" not in arg or data.draw(st.booleans()):
            one = values(arg)
            body[arg["name"]] = data.draw(st.lists(one, max_size=4) if arg["rest"] else one)
    answer = ask(app, "POST", f"/api{address}", body)
    assert answer.status in (200, 400, 422), answer.text
    assert "internal error" not in answer.text
    document = openapi([command], "1")
    operation = document["paths"][f"/api{command['address']}"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0]
    if answer.status == 200:
        # Deck letters and words come in either case; the schema names one.
        texts = [one for arg in body.values() for one in (arg if isinstance(arg, list) else [arg])]
        if not any(isinstance(one, str | bool) for one in texts):
            Draft202012Validator(schema).validate(body)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.text(max_size=40))
def test_anything_at_all_gets_an_answer(app: ASGIApp, body: bytes, path: str) -> None:
    quiet = path.replace("?", "")  # it may be the address of a command
    assert ask(app, "POST", f"/api/{quiet}", body).status in (200, 400, 404, 405, 422)
    assert ask(app, "POST", "/api/deck/A/eq", body).status in (200, 400, 422)
