"""The client's copy of the command table, and its methods, agree with the server's table."""

from __future__ import annotations

import inspect

import pytest

from contrib.client_methods import FOLDER, OWN, SOURCES, commands
from crowdstream.client import AsyncClient, Client
from crowdstream.client.command_index import find
from crowdstream.client.command_info import Ending
from crowdstream.client.command_table import COMMANDS, PLACES
from crowdstream.commands.registry import PLACES as SERVER_PLACES
from crowdstream.commands.registry import TABLE, Command


@pytest.mark.parametrize("name", SOURCES)
def test_the_generated_module_is_not_stale(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == SOURCES[name](), "run: .venv/bin/python -P -m contrib.client_methods"


def concrete(command: Command, address: str) -> str:
    """The address with the last value of its placeholder."""
    for place, values in SERVER_PLACES.items():
        address = address.replace(f"{{{place}}}", values[-1][0])
    return address


@pytest.mark.parametrize("command", TABLE.commands, ids=lambda one: str(one.address))
def test_every_address_and_alias_is_found(command: Command) -> None:
    for address in (command.address, *command.aliases):
        info = find(concrete(command, address))
        assert info is not None
        assert [arg.name for arg in info.args] == [arg.name for arg in command.args]
        assert info.repeatable == command.repeatable and info.writes == command.changes


def test_every_command_has_a_method_of_both_clients() -> None:
    for command in COMMANDS:
        for client in (Client, AsyncClient):
            if command.name in OWN - {"status", "version", "events", "waiting", "sync"}:
                continue
            method = getattr(client, command.name)
            assert callable(method) and inspect.getdoc(method), command.name


def test_both_clients_have_the_same_methods() -> None:
    names = [
        {name for name in vars(client) if not name.startswith("_")}
        for client in (Client, AsyncClient)
    ]
    assert names[0] - names[1] == {"wait"} and names[1] <= names[0]


def test_the_kinds_of_replies() -> None:
    kinds = {one.address: (one.reply, one.ending) for one in commands()}
    assert kinds["/status"] == ("/status.reply", Ending.FIRST)
    assert kinds["/deck/{deck}/load"] == ("", Ending.DONE)
    assert kinds["/deck/{deck}/level"] == ("", Ending.HANDLED)
    assert kinds["/deck/{deck}/fx/list"] == ("<address>.reply", Ending.COUNT)
    assert kinds["/fx/modules"] == ("/fx/modules.reply", Ending.COUNT)
    assert kinds["/dj/status"] == ("/dj/status.reply", Ending.PARTS)
    assert kinds["/sync"] == ("/synced", Ending.ECHO)
    assert kinds["/clock/reset"] == ("", Ending.HANDLED)


ONCE = {
    "/clock/at", "/deck/{deck}/play", "/deck/{deck}/load", "/deck/{deck}/jump", "/play_stem",
    "/deck/{deck}/loop/move", "/deck/{deck}/fx/insert", "/record/start", "/announce", "/cancel",
    "/deck/{deck}/hotcue", "/start_group", "/clock/reset", "/sample/{sample}/play", "/dj/next",
}  # fmt: skip


def test_commands_that_act_each_time_are_not_repeated() -> None:
    known = {command.address: command for command in TABLE.commands}
    assert not [address for address in ONCE if known[address].repeatable]
    for address in ("/deck/{deck}/level", "/status", "/clock/tempo", "/input/{input}/mute"):
        assert known[address].repeatable


def test_the_places_are_those_of_the_server() -> None:
    for place, values in SERVER_PLACES.items():
        assert set(PLACES[place]) == {spelling.upper() for spelling, _number in values}
