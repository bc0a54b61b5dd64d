"""The command table over HTTP."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from crowdstream.commands.registry import TABLE
from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.web.api.command_api import STATUS_POSITIONAL_FIELDS, routes
from crowdstream.web.api.commands import InvalidArguments, in_order
from tests.support.web_client import FakeWeb, ask


@pytest.fixture
def app(web: FakeWeb) -> ASGIApp:
    return web.app(routes(web))  # type: ignore[arg-type]


def level(web: FakeWeb, deck: int = 0) -> float:
    return float(web.desk.ramps["target"][deck_level_ramp(deck)])


def test_the_command_list_equals_the_table(web: FakeWeb, app: ASGIApp) -> None:
    told = ask(app, "GET", "/api/commands").json
    assert [one["address"] for one in told] == [one.address for one in TABLE.commands]


def test_a_command_has_the_same_effect_as_over_osc(web: FakeWeb, app: ASGIApp) -> None:
    answer = ask(app, "POST", "/api/deck/A/level", {"args": [0.25, 0]})
    assert (answer.status, answer.json) == (200, [])
    web.link.rig.run(512)
    assert level(web) == 0.25
    assert ask(app, "POST", "/api/deck/b/level", {"gain": 0.5}).status == 200
    web.link.rig.run(512)
    assert level(web, 1) == 0.5
    assert ask(app, "POST", "/api/deck/A/level", [0.75]).status == 200
    assert web.link.done[-1] == [["/deck/A/level", 0.75]]


def test_replies_are_returned(web: FakeWeb, app: ASGIApp) -> None:
    answer = ask(app, "POST", "/api/version")
    assert answer.json[0][:2] == ["/version.reply", "crowdstream"]
    assert answer.headers["cache-control"] == "no-store"


def test_a_failed_command_gives_the_reason_and_changes_nothing(web: FakeWeb, app: ASGIApp) -> None:
    before = web.link.rig.state()
    refused = ask(app, "POST", "/api/deck/A/level", {"gain": 9})
    assert refused.status == 422
    assert "out of range" in refused.json["error"]
    assert refused.json["answers"][0][0] == "/fail"
    assert ask(app, "POST", "/api/deck/A/play").status == 422
    assert web.link.rig.state() == before


def test_unknown_commands_are_reported(app: ASGIApp) -> None:
    assert ask(app, "POST", "/api/deck/E/level", {"gain": 1}).status == 404
    assert ask(app, "POST", "/api/deck/{deck}/level", {"gain": 1}).status == 404
    assert ask(app, "GET", "/api/deck/A/level").status == 405
    assert ask(app, "POST", "/api/").status == 404


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/commands", "GET, HEAD, OPTIONS"), ("/api/openapi.json", "GET, HEAD, OPTIONS"),
        ("/api/picture", "GET, HEAD, OPTIONS"), ("/api/status", "GET, POST, HEAD, OPTIONS"),
        ("/api/batch", "POST, OPTIONS"), ("/api/deck/A/level", "POST, OPTIONS"),
        ("/api/deck/a/play", "POST, OPTIONS"), ("/api/version", "POST, OPTIONS"),
    ],
)  # fmt: skip
def test_undeclared_methods_get_405_with_the_allowed_ones(
    web: FakeWeb, app: ASGIApp, path: str, allowed: str
) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"):
        answer = ask(app, method, path)
        if method in allowed:
            assert answer.status != 405, method
        else:
            assert (answer.status, answer.headers["allow"]) == (405, allowed), method
            assert method in answer.json["error"]
    options = ask(app, "OPTIONS", path)
    assert (options.status, options.headers["allow"], options.body) == (204, allowed, b"")


def test_an_unknown_address_gets_404_for_every_method(app: ASGIApp) -> None:
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        assert ask(app, method, "/api/deck/E/level").status == 404


def test_status_supports_get_by_name_and_post_as_a_command(app: ASGIApp) -> None:
    assert ask(app, "POST", "/api/status").json[0][0] == "/status.reply"


@pytest.mark.parametrize(
    ("address", "body", "status"),
    [
        # A boolean is valid for a switch, but not for a number.
        ("deck/A/level", {"gain": False}, 400), ("deck/A/level", [True], 400),
        ("print_clock", {"on": False}, 200), ("print_clock", [True], 200),
        ("test_tone", {"args": [True]}, 400), ("sync", {"id": False}, 400),
        ("mix/fx/insert", [1, "echo", "mix", True], 400), ("start_group", [False, "A"], 400),
        ("clock/next", ["bar", "/deck/A/level", True], 400),
        ("mix/fx/insert", [1, "echo", "on", 0], 200),
        # null is not a valid body; without a body there are no arguments.
        ("version", b"null", 400), ("deck/A/level", b"null", 400), ("version", b"", 200),
        ("version", b"{}", 200), ("version", b"[]", 200), ("sync", {"id": None}, 400),
        ("deck_levels", {"a": 1, "b": None}, 400), ("deck_levels", {"a": 1, "c": 0.5}, 200),
        # The maximum of the schema, and beyond.
        ("sync", {"id": 2**63 - 1}, 200), ("sync", {"id": -(2**63)}, 200),
        ("sync", {"id": 2**63}, 422), ("sync", {"id": 10**38}, 422),
        ("sync", {"id": 10**400}, 400), ("sync", [1e300], 400),
        ("dance/head_movement", [3.4e38], 200), ("dance/head_movement", [10**38], 200),
        ("dance/head_movement", [3.5e38], 400), ("deck/A/level", [2**63], 422),
        ("mix/fx/insert", [1, "echo", "mix", 10**30], 422),
        # Texts and lists have a maximum length.
        ("dj/state", [1, 1, "x" * 1001], 422), ("load_buffer", [100, "x" * 4097], 422),
        ("deck/A/grid/points", [0.5] * 1025, 422), ("start_group", {"decks": ["A"] * 65}, 422),
        ("clock/quantize", [0], 200), ("clock/quantize", [0.25], 200), ("meters", [0.5], 422),
        ("clock/quantize", [0.1], 422), ("clock/quantize", ["BAR"], 200),
        ("clock/quantize", ["\u212aar"], 422), ("mix/level", ["\u0661"], 422),
    ],
)  # fmt: skip
def test_values_are_checked_against_their_declaration(
    app: ASGIApp, address: str, body: Any, status: int
) -> None:
    answer = ask(app, "POST", f"/api/{address}", body)
    assert answer.status == status, answer.text
    assert "internal" not in answer.text


def test_omitted_levels_stay_unchanged(web: FakeWeb, app: ASGIApp) -> None:
    assert ask(app, "POST", "/api/deck_levels", {"a": 0.5, "c": 0.25}).status == 200
    web.link.rig.run(2048)
    assert [level(web, deck) for deck in range(4)] == [0.5, 1.0, 0.25, 1.0]


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"\xff", b'{"gain": NaN}', b'{"gain": Infinity}', b'{"gain": 1e999}', b'"text"',
        b'{"gain": null}', b'{"gain": [1]}', b'{"loudness": 1}', b'{"seconds": 1}', b"1", b"true",
        b"[" * 30000, b'{"args": {}}', b'{"args": [{"a": 1}]}', b'{"args": [' + b"9" * 5000 + b"]}",
        b'["\\ud800"]', b'{"args": [1], "gain": 1}',
    ],
)  # fmt: skip
def test_invalid_arguments_are_reported(web: FakeWeb, app: ASGIApp, body: bytes) -> None:
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
    assert ordered("/deck_levels", a=1.0, c=0.5) == [1.0, None, 0.5]
    with pytest.raises(InvalidArguments, match="gain is missing, but seconds comes after it"):
        ordered("/deck/{deck}/level", seconds=1.0)
    with pytest.raises(InvalidArguments, match="start_at is a number"):
        ordered("/start_group", start_at="A", decks=["B"])


def test_a_file_name_that_is_not_unicode_is_passed_on(web: FakeWeb, app: ASGIApp) -> None:
    ask(app, "POST", "/api/deck/A/load", b'{"path": "/no/such\\udcff.wav"}')
    assert web.link.done[-1] == [["/deck/A/load", "/no/such\udcff.wav"]]


def test_a_batch_takes_effect_on_one_frame(web: FakeWeb, app: ASGIApp) -> None:
    batch = [["/deck/A/level", 0.5, 0], {"address": "/deck/B/level", "gain": 0.25, "seconds": 0}]
    assert ask(app, "POST", "/api/batch", batch).status == 200
    assert web.link.done == [[["/deck/A/level", 0.5, 0], ["/deck/B/level", 0.25, 0]]]
    web.link.rig.run(256)
    assert (level(web, 0), level(web, 1)) == (0.5, 0.25)


def test_a_batch_with_failures_reports_each(web: FakeWeb, app: ASGIApp) -> None:
    answer = ask(app, "POST", "/api/batch", [["/deck/A/level", 0.5, 0], ["/deck/B/level", 9]])
    assert answer.status == 207 and "out of range" in answer.json["error"]
    web.link.rig.run(256)
    assert level(web) == 0.5
    assert ask(app, "POST", "/api/batch", [["/deck/B/level", 9]]).status == 422


@pytest.mark.parametrize(
    "said", [[], {}, [[]], [[1]], [["/version"]] * 300, ["/version"], None, b"null"]
)
def test_invalid_batches_are_refused(web: FakeWeb, app: ASGIApp, said: Any) -> None:
    assert ask(app, "POST", "/api/batch", said).status == 400
    assert ask(app, "POST", "/api/batch", [["/version"], ["/nowhere"]]).status == 404
    assert not web.link.done, "nothing of it is carried out"


def test_the_status_by_name(web: FakeWeb, app: ASGIApp) -> None:
    status = ask(app, "GET", "/api/status").json
    assert status["decks"] == 4 and status["sample_rate_actual"] == 44100
    assert set(STATUS_POSITIONAL_FIELDS[1:]) | set(web.link.rig.status()) == set(status)


def test_the_complete_picture_is_returned(web: FakeWeb, app: ASGIApp) -> None:
    web.link.picture = {"deck.A": {"lufs": -math.inf, "track": "x"}}
    assert ask(app, "GET", "/api/picture").json == {"deck.A": {"lufs": None, "track": "x"}}


def test_an_unresponsive_control_gives_503(web: FakeWeb, app: ASGIApp) -> None:
    web.link.busy = True
    for method, path in (("GET", "status"), ("GET", "picture"), ("POST", "version")):
        assert ask(app, method, f"/api/{path}").status == 503
    assert ask(app, "GET", "/api/commands").status == 200


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.text(max_size=40))
def test_arbitrary_requests_get_a_response(app: ASGIApp, body: bytes, path: str) -> None:
    quiet = path.replace("?", "")  # without a query it may be the address of a command
    assert ask(app, "POST", f"/api/{quiet}", body).status in (200, 400, 404, 405, 422)
    assert ask(app, "POST", "/api/deck/A/eq", body).status in (200, 400, 422)
