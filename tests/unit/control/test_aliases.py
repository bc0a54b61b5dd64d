"""Former addresses of commands: whatever a command does, it does under each of its names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdstream.commands.errors import CommandError
from crowdstream.commands.registry import PLACES, TABLE, Command, Table
from crowdstream.control.osc_reference import osc_pages
from crowdstream.control.processes.web_process import WebProcess, command_as_json
from crowdstream.control.publish.change_feed import SEND_SECONDS
from crowdstream.control.publish.feedback import TURN_SECONDS
from crowdstream.control.publish.state_view import StateView
from crowdstream.control.python_api import PythonAudioServer
from crowdstream.dj.autopilot.manual_override import affected
from crowdstream.offline.session import WALL
from crowdstream.offline.set_formats import read_set
from crowdstream.web.api.commands import Commands, with_aliases
from crowdstream.web.api.openapi import openapi
from crowdstream.web.api.oscquery import tree
from tests.support.offline_server import ME, Rig, bundle_at, level, write
from tests.unit.control.state.test_snapshotter import RestartableRig

OTHER = ("127.0.0.1", 50001)
FORMER = {
    "/deck/{deck}/pfl": "/deck/{deck}/listen",
    "/deck/{deck}/loop/reloop": "/deck/{deck}/loop/again",
    "/deck/{deck}/softstart": "/deck/{deck}/spin", "/mix/route": "/mix/patch",
    "/dj/release": "/dj/give", "/dj/register": "/dj/here", "/changes/subscribe": "/watch",
    **{f"/deck/{{deck}}/stem/{n}/pfl": f"/deck/{{deck}}/stem/{n}/listen" for n in range(1, 9)},
}  # fmt: skip
RENAMED = [command for command in TABLE.commands if command.aliases]
# Arguments with which a command succeeds on a rig of `prepared`; the others take none.
VALID: dict[str, tuple[Any, ...]] = {
    "pfl": (0.5, 0.0), "softstart": (0.25,), "route": ("bus1", "bus2", 0.5), "release": ("A",),
    "register": ("begin",), "subscribe": (1,),
}  # fmt: skip


def valid(command: Command) -> tuple[Any, ...]:
    return VALID.get(command.address.rpartition("/")[2], ())


def at_deck(address: str) -> str:
    return address.replace("{deck}", "A")


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("music") / "song"
    folder.mkdir()
    for number in range(8):
        write(folder / f"{number}.wav", level(2, 0.01 * (number + 1)))
    return str(folder)


def prepared(song: str, **options: Any) -> Rig:
    """A rig with eight stems on deck A that play and have left a loop."""
    rig = Rig(**options)
    rig.send("/deck/A/load", song)
    rig.run(512)
    for address, *values in (
        ("/deck/A/play",), ("/deck/A/grid", 120.0), ("/deck/A/loop", 0.5), ("/deck/A/loop/exit",),
    ):  # fmt: skip
        rig.send(address, *values)
        rig.run(512)
    assert rig.fails() == []
    rig.answers.said.clear()
    return rig


def outcome(rig: Rig, address: str) -> Any:
    """All that a command has caused: replies without its address, state, and the next sound."""
    rig.seconds(0.1)
    replies = [
        (sender, said, tuple("ADDRESS" if value == address else value for value in values))
        for sender, said, values in rig.answers.said
        if said != "/changed"
    ]
    view = StateView(rig.core).values()
    del view["health"]
    return replies, json.dumps(view), rig.core.status.values(), rig.out[-4096:].tobytes()


def test_the_former_addresses_are_declared() -> None:
    assert {command.address: command.aliases for command in RENAMED} == {
        address: (alias,) for address, alias in FORMER.items()
    }


@pytest.mark.parametrize("command", RENAMED, ids=lambda one: one.address)
def test_an_alias_is_found_with_the_command_and_the_place_of_its_address(command: Command) -> None:
    spellings = PLACES["deck"] if "{deck}" in command.address else [("", 0)]
    for alias in command.aliases:
        for spelling, _number in spellings:
            exact, former = (one.replace("{deck}", spelling) for one in (command.address, alias))
            found, place = TABLE.find(former)
            assert found is command and (found, place) == TABLE.find(exact)
            assert TABLE.find_all(former) == TABLE.find_all(exact)
            assert former.upper() in map(str.upper, TABLE.all_names(exact))
            assert TABLE.all_names(exact) == TABLE.all_names(former)


@pytest.mark.parametrize("command", RENAMED, ids=lambda one: one.address)
@pytest.mark.parametrize("extra", [(), ("x",)], ids=["valid", "wrong"])
def test_an_alias_has_the_same_effect_and_replies_with_the_address_that_was_sent(
    command: Command, extra: tuple[str, ...], song: str
) -> None:
    found = []
    for one in (command.address, *command.aliases):
        address = at_deck(one)
        with prepared(song) as rig:
            rig.send("/dj/register", "begin", sender=OTHER)
            rig.answers.said.clear()
            rig.send(address, *extra, *valid(command))
            found.append(outcome(rig, address))
            replies = [*rig.heard("/done"), *rig.heard("/fail")]
            assert all(values[0] == address for values in replies)
            assert bool(rig.fails()) == bool(extra)
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("command", [one for one in RENAMED if one.scheduled],
                         ids=lambda one: one.address)
@pytest.mark.parametrize("way", ["bundle", "beat", "quantized"])
def test_an_alias_is_scheduled_quantized_and_cancelled_like_its_address(
    command: Command, way: str, song: str
) -> None:
    def schedule(rig: Rig, address: str) -> None:
        if way == "bundle":
            rig.raw(bundle_at(WALL + rig.time - rig_start + 1.0, address, *valid(command)))
        elif way == "beat":
            rig.send("/clock/at", 40.0, address, *valid(command))
        else:
            rig.send("/clock/quantize", "phrase")
            rig.send(address, *valid(command))

    waiting = []
    for sent in (command.address, *command.aliases):
        for named in (command.address, *command.aliases):
            with prepared(song) as rig:
                rig_start = rig.time
                schedule(rig, at_deck(sent))
                waiting.append(len(rig.core.scheduler))
                rig.send("/cancel", at_deck(named))
                assert len(rig.core.scheduler) == 0
                assert rig.heard("/done")[-1] == ("/cancel", waiting[-1])
    assert set(waiting) == {int(command.quantized or way != "quantized")}


def test_a_pattern_carries_out_a_command_once_whichever_names_it_matches(rig: Rig) -> None:
    for pattern in ("/deck/A/{pfl,listen}", "/deck/A/pf?", "/deck/A/list*", "/deck/[A]/listen"):
        assert [command.address for command, _ in TABLE.find_all(pattern)] == ["/deck/{deck}/pfl"]
    rig.send("/changes/subscribe")
    rig.send("/deck/*/{listen,pfl}", 0.5)
    rig.seconds(2 * SEND_SECONDS)
    assert rig.heard("/changed") == [(f"/deck/{letter}/pfl", 0.5) for letter in "ABCD"]


@pytest.mark.parametrize("command", RENAMED, ids=lambda one: one.address)
def test_a_misspelt_alias_is_recognized(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (command.address, *command.aliases):
        monkeypatch.setattr(TABLE, "_hinted", -1.0)
        with pytest.raises(CommandError, match=rf"did you mean {at_deck(one)}\?"):
            TABLE.find(f"{at_deck(one)}_")


@pytest.mark.parametrize("command", RENAMED, ids=lambda one: one.address)
def test_python_methods_exist_under_both_names(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    server = PythonAudioServer(osc_port=0, driver="null")
    monkeypatch.setattr(server, "send", lambda address, *_values: sent.append(address))
    for name, address in command.names.items():
        assert TABLE.by_name(name) is command
        method = getattr(server, f"osc_{name}")
        method(at_deck(address) if "{deck}" in address else "")
    assert sent == [at_deck(one) for one in (command.address, *command.aliases)]


def test_an_alias_needs_a_python_name_of_its_own() -> None:
    table = Table()
    table.add("/a")(lambda _request: None)
    with pytest.raises(ValueError, match="/a: 'a' is taken"):
        table.add("/b", aliases=("/a",))(lambda _request: None)
    assert table.by_name("b") is None and len(table.commands) == 1


def test_set_files_may_use_aliases(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_text("0 /mix/patch A bus1 1\n1 /deck/A/spin 0.5\n2 end\n")
    assert [cue.address for cue in read_set(path).cues] == ["/mix/patch", "/deck/A/spin"]


# Published state -----------------------------------------------------------------------------


def changes(rig: Rig, client: Any) -> list[tuple[Any, ...]]:
    rig.seconds(2 * SEND_SECONDS)
    return [values for sender, said, values in rig.answers.said
            if said == "/changed" and sender == client]


NEW: list[tuple[Any, ...]] = [
    ("/deck/A/pfl", 1.0), ("/mix/route", "bus1", "bus2", 0.5), ("/mix/level", 0.5),
]
OLD: list[tuple[Any, ...]] = [
    ("/deck/A/listen", 1.0), ("/mix/patch", "bus1", "bus2", 0.5), ("/mix/level", 0.5),
]


@pytest.mark.parametrize("sent", [NEW, OLD], ids=["new", "old"])
def test_watchers_receive_the_names_of_the_address_by_which_they_subscribed(
    rig: Rig, sent: list[tuple[Any, ...]]
) -> None:
    rig.send("/changes/subscribe")
    rig.send("/watch", sender=OTHER)
    for address, *values in sent:
        rig.send(address, *values)
    assert changes(rig, ME) == NEW
    assert changes(rig, OTHER) == OLD
    rig.answers.said.clear()
    rig.send("/watc?")
    rig.send("/changes/*", sender=OTHER)
    rig.send(*NEW[0])
    assert (changes(rig, ME), changes(rig, OTHER)) == (OLD[:1], NEW[:1])
    rig.answers.said.clear()
    rig.send("/changes/subscribe", 0)
    rig.send("/watch", 0, sender=OTHER)
    rig.send(*NEW[0])
    assert (changes(rig, ME), changes(rig, OTHER)) == ([], [])


def test_watchers_keep_their_names_when_control_is_replaced() -> None:
    with RestartableRig() as rig:
        rig.send("/changes/subscribe")
        rig.send("/watch", sender=OTHER)
        rig.note()
        rig.restart_control()
        rig.send(*NEW[0])
        assert (changes(rig, ME), changes(rig, OTHER)) == (NEW[:1], OLD[:1])


def test_watchers_of_an_earlier_version_receive_aliases_after_an_update(rig: Rig) -> None:
    rig.core.changes.restore([[list(ME), 0]], rig.core.reply_to)
    rig.send(*NEW[0])
    assert changes(rig, ME) == OLD[:1]


@pytest.mark.parametrize(
    ("selected", "values"),
    [
        ((), [("/deck/A/pfl", 0.5), ("/deck/A/listen", 0.5)]),
        (("/deck/A",), [("/deck/A/pfl", 0.5), ("/deck/A/listen", 0.5)]),
        (("/deck/*/pfl",), [("/deck/A/pfl", 0.5)]),
        (("/deck/A/listen",), [("/deck/A/listen", 0.5)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sent", ["/deck/A/pfl", "/deck/A/listen"])
def test_feedback_has_the_selected_names_of_a_value(
    rig: Rig, sent: str, selected: tuple[str, ...], values: list[tuple[Any, ...]]
) -> None:
    rig.send("/feedback", 1, 1, *selected)
    rig.send("/feedback", 1, 0, *selected, sender=OTHER)
    rig.seconds(2 * TURN_SECONDS)
    rig.answers.said.clear()
    rig.send(sent, 0.5, sender=OTHER)
    rig.seconds(2 * TURN_SECONDS)
    received = [(address, *rest) for who, address, rest in rig.answers.said if who == ME]
    assert received == values
    assert [one for one in rig.answers.said if one[0] == OTHER] == [], "its own value"
    rig.send(sent, 9.0, sender=OTHER)
    rig.seconds(2 * TURN_SECONDS)
    corrected = [(address, *rest) for who, address, rest in rig.answers.said if who == OTHER]
    assert corrected[1:] == values, "a failed command is corrected under each name"


# Other programs ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", RENAMED, ids=lambda one: one.address)
def test_the_dj_treats_aliases_alike(command: Command) -> None:
    for alias in command.aliases:
        values = valid(command)
        assert affected(at_deck(alias), values) == affected(at_deck(command.address), values)


def test_a_dj_of_an_earlier_version_registers_and_recognizes_its_own_commands(rig: Rig) -> None:
    dj = ("127.0.0.1", 5000)
    for address, *values in (("/watch", 1), ("/dj/here", "begin"), ("/dj/here", "on")):
        rig.send(address, *values, sender=dj)
    assert rig.heard("/done")[1:] == [("/dj/here",), ("/dj/here",)] and rig.core.dj.connected
    rig.send("/dj/release", "A")
    assert [values[1:] for values in rig.heard("/dj/do")] == [("give", "A")]
    rig.send("/deck/A/listen", 1.0, sender=dj)
    assert ("/deck/A/listen", 1.0) in changes(rig, dj)
    rig.send("/dj/here", "end", sender=dj)
    assert not rig.core.dj.connected


def test_pages_may_not_subscribe_under_any_name(rig: Rig) -> None:
    class Child:
        """Stands in for the web process."""

        def __init__(self) -> None:
            self.sent: list[dict[str, Any]] = []
            self.pid = 0

        def send(self, message: dict[str, Any]) -> None:
            self.sent.append(message)

    child = Child()
    web = WebProcess(rig.core, 57120, lambda _port: child, child)  # type: ignore[arg-type, return-value]
    for number, address in enumerate(("/watch", "/changes/subscribe"), 1):
        web._carry_out(number, [[address, 1]])
        assert {"answer": [number, "/fail", address,
                           "pages receive all notifications without subscribing"]} in child.sent
    assert not len(rig.core.changes.watchers)


def described() -> Iterator[tuple[dict[str, Any], str, str]]:
    for command in RENAMED:
        for alias in command.aliases:
            yield json.loads(json.dumps(command_as_json(command))), command.address, alias


def test_http_openapi_and_oscquery_describe_both_names() -> None:
    table = json.loads(json.dumps([command_as_json(one) for one in TABLE.commands]))
    known, document, root = Commands().of(table), openapi(table, "1"), tree(table)
    pages = {one["address"]: one for one in with_aliases(table)}
    for line, address, alias in described():
        assert pages[alias]["args"] == pages[address]["args"], "a page of an earlier version"
        assert known[at_deck(alias)]["args"] == known[at_deck(address)]["args"] == line["args"]
        one, other = (document["paths"][f"/api{name}"] for name in (address, alias))
        assert one["post"]["requestBody"] == other["post"]["requestBody"]
        assert one.get("parameters") == other.get("parameters")
        assert other["post"]["deprecated"] and "deprecated" not in one["post"]
        assert f"Alias of {address}." in other["post"]["description"]
        first, second = (node_of(root, at_deck(name)) for name in (address, alias))
        for name in ("TYPE", "ACCESS", "RANGE", "OVERLOADS", "UNIT"):
            assert first.get(name) == second.get(name), (alias, name)


def node_of(node: dict[str, Any], address: str) -> dict[str, Any]:
    for part in address.strip("/").split("/"):
        node = node["CONTENTS"][part]
    return node


def test_the_reference_lists_an_alias_beside_its_command_only() -> None:
    text = "".join(osc_pages().values())
    for command in RENAMED:
        for alias in command.aliases:
            assert f"## `{alias}" not in text
            shown = alias if "/stem/" not in alias else "/deck/{deck}/stem/{number}/listen"
            assert text.count(f"Alias: `{shown}`.") == 1
