"""The OSCQuery description of the addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from crowdstream.commands.registry import TABLE, Command
from crowdstream.web.api.commands import addresses, with_aliases
from crowdstream.web.api.oscquery import ATTRIBUTES, OscQuery, wants_address_space
from tests.support.offline_server import level, write
from tests.support.web_client import FakeWeb, ask

TAKEN = {"api", "docs", "page", "live", "listen", "waves", "library", "metrics", "healthz"}


@pytest.fixture
def app(web: FakeWeb) -> ASGIApp:
    query = OscQuery(web)  # type: ignore[arg-type]
    return web.app([Route("/{path:path}", query.answer)])


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("CONTENTS", {}).values():
        yield from nodes(below)


def described(command: Command) -> dict[str, Any]:
    return {"address": command.address, "aliases": command.aliases}


def test_host_info_gives_the_osc_host_and_port(web: FakeWeb, app: ASGIApp) -> None:
    info = ask(app, "GET", "/?HOST_INFO").json
    assert (info["OSC_IP"], info["OSC_PORT"], info["OSC_TRANSPORT"]) == ("127.0.0.1", 57120, "UDP")
    assert info["NAME"].startswith("CrowdStream ")
    assert info["EXTENSIONS"]["VALUE"] and not info["EXTENSIONS"]["LISTEN"]
    web.link.about["osc_host"] = "0.0.0.0"
    assert "OSC_IP" not in ask(app, "GET", "/deck?HOST_INFO=").json


def test_the_tree_contains_exactly_the_commands(app: ASGIApp) -> None:
    root = ask(app, "GET", "/").json
    assert root["FULL_PATH"] == "/" and root["ACCESS"] == 0
    found = {node["FULL_PATH"]: node for node in nodes(root)}
    table = with_aliases([described(command) for command in TABLE.commands])
    wanted = {address for command in table for address in addresses(command)}
    assert {path for path, node in found.items() if "TYPE" in node} == wanted
    for path, node in found.items():
        assert ("TYPE" in node) == (node["ACCESS"] > 0)
        for name, below in node.get("CONTENTS", {}).items():
            assert below["FULL_PATH"] == f"{path.rstrip('/')}/{name}"


def test_each_attribute_has_an_element_for_each_type(app: ASGIApp) -> None:
    for node in nodes(ask(app, "GET", "/").json):
        for shape in (node, *node.get("OVERLOADS", ())):
            for name in ("RANGE", "UNIT", "CLIPMODE", "VALUE"):
                if name in shape:
                    assert len(shape[name]) == len(shape["TYPE"]), (node["FULL_PATH"], name)
        if "VALUE" in node:
            assert node["ACCESS"] == 3


def test_a_node_with_types_ranges_units_and_shorter_forms(app: ASGIApp) -> None:
    node = ask(app, "GET", "/deck/B/level").json
    assert node["TYPE"] == "ff"
    assert node["RANGE"] == [{"MIN": 0, "MAX": 4.0}, {"MIN": 0, "MAX": 3600}]
    assert node["UNIT"] == [None, "time.second"]
    assert node["VALUE"] == [1.0, 0.02]
    assert [one["TYPE"] for one in node["OVERLOADS"]] == ["f"]
    curve = ask(app, "GET", "/mix/crossfader/curve").json
    assert curve["RANGE"] == [{"VALS": ["additive", "constant-power", "cut"]}]
    assert curve["VALUE"] == ["constant-power"]
    assert ask(app, "GET", "/deck/A/loop/halve").json["TYPE"] == ""


def test_values_follow_the_mixer(web: FakeWeb, app: ASGIApp, tmp_path: Path) -> None:
    rig = web.link.rig
    steady = str(write(tmp_path / "steady.wav", level(1)))
    for address, *values in (
        ("/deck/A/level", 0.25, 0.0), ("/deck/A/trim", 6.0), ("/deck/C/pitch", 3.0),
        ("/mix/crossfader", 0.75), ("/clock/tempo", 133.0), ("/deck/A/eq/low", 0.5),
        ("/deck/B/crossfader", "right"), ("/clock/meter", 3), ("/deck/A/load", steady),
    ):  # fmt: skip
        rig.send(address, *values)
    rig.run(4096)
    rig.send("/deck/A/stem/1", 0.5)
    rig.send("/deck/A/stem/1/mute", 1)
    rig.run(4096)

    def value(address: str) -> Any:
        return ask(app, "GET", f"{address}?VALUE").json["VALUE"]

    assert value("/deck/A/level")[0] == 0.25
    assert value("/deck/A/trim")[0] == pytest.approx(6.0)
    assert value("/deck/C/pitch") == [3.0]
    assert value("/mix/crossfader")[0] == 0.75
    assert value("/clock/tempo")[0] == 133.0
    assert value("/deck/A/eq/low")[0] == 0.5
    assert value("/deck/B/crossfader") == ["right"]
    assert value("/clock/meter") == [3]
    assert value("/deck/A/stem/1") == [0.5, pytest.approx(0.02)]
    assert value("/deck/A/stem/1/mute") == [1]
    assert ask(app, "GET", "/deck/B/stem/1?VALUE").status == 204, "an empty deck has no stems"
    assert not rig.fails()


def test_silence_has_no_decibels(web: FakeWeb, app: ASGIApp) -> None:
    web.link.picture = {"deck.A": {"trim": 0.0}, "mixer": {"ceiling": None}}
    assert ask(app, "GET", "/deck/A/trim?VALUE").status == 204
    assert ask(app, "GET", "/mix/ceiling?VALUE").status == 204


def test_values_can_be_sent_back(web: FakeWeb, app: ASGIApp) -> None:
    for node in nodes(ask(app, "GET", "/").json):
        if "VALUE" in node and None not in node["VALUE"]:
            command, _ = TABLE.find(node["FULL_PATH"])
            command.bind(node["VALUE"])


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/nowhere", 404), ("/deck/E", 404), ("/deck/A/level/x", 404), ("/deck/A?TYPE", 204),
        ("/deck/A/load?VALUE", 204), ("/sync?VALUE", 204), ("/deck/A/level?GABBAGABBAHEY", 400),
        ("/nowhere?VALUE", 404), ("/deck/A/level?RANGE", 200), ("/deck?CONTENTS", 200),
        ("/deck/A/level?CONTENTS", 204), ("/deck/A/level/", 200),
    ],
)  # fmt: skip
def test_missing_nodes_and_values(app: ASGIApp, target: str, status: int) -> None:
    answer = ask(app, "GET", target)
    assert answer.status == status
    assert bool(answer.body) == (status != 204)


def test_a_single_attribute_is_returned(app: ASGIApp) -> None:
    for name in sorted(ATTRIBUTES - {"CONTENTS"}):
        answer = ask(app, "GET", f"/deck/A/level?{name}")
        assert list(answer.json) == [name]


def test_without_control_nodes_have_no_values(web: FakeWeb, app: ASGIApp) -> None:
    web.link.busy = True
    node = ask(app, "GET", "/deck/A/level").json
    assert node["TYPE"] == "ff" and "VALUE" not in node


def test_no_osc_address_conflicts_with_a_route() -> None:
    known = [one for command in TABLE.commands for one in (command.address, *command.aliases)]
    assert not TAKEN & {address.split("/")[1] for address in known}


@pytest.mark.parametrize(
    ("query", "accept", "osc"),
    [
        ("", "text/html,*/*;q=0.8", False), ("", "application/json", True), ("", "*/*", True),
        ("HOST_INFO", "text/html", True), ("VALUE", "text/html", True), ("", "", True),
        ("utm=1", "text/html", False),
    ],
)  # fmt: skip
def test_browsers_get_the_page_and_osc_clients_the_tree(query: str, accept: str, osc: bool) -> None:
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), (b"accept", accept.encode())],
    }  # fmt: skip
    assert wants_address_space(Request(scope)) is osc


def test_an_alias_has_the_value_of_its_address(web: FakeWeb, app: ASGIApp) -> None:
    web.link.rig.send("/deck/A/pfl", 0.25)
    web.link.rig.run(4096)
    values = [ask(app, "GET", f"/deck/A/{name}?VALUE").json["VALUE"] for name in ("pfl", "listen")]
    assert values[0] == values[1] and values[0][0] == 0.25
