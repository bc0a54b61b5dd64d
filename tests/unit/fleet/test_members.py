"""The servers of a fleet: the file, the command line, and the choice by name and group."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdstream.fleet.members import (
    FleetError,
    Member,
    check_members,
    make_member,
    parse_place,
    read_members,
    select,
)
from tests.support.environment import PROJECT

TEXT = """
[fleet]
discover = true
upgrade = "ssh {host} crowdstream upgrade --port {port} {path}"

[[server]]
name = "main"
host = "10.0.0.1"
groups = ["floors"]
settings = "/mnt/main/crowdstream.toml"

[[server]]
host = "bar.local"
port = 57121
groups = ["floors", "quiet"]
upgrade = ""
"""


def fleet_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_lists_servers_with_common_commands(tmp_path: Path) -> None:
    (main, bar), discover = read_members(fleet_file(tmp_path, TEXT))
    assert discover
    assert (main.name, main.place) == ("main", "10.0.0.1:57120")
    assert (bar.name, bar.place, bar.upgrade) == ("bar.local", "bar.local:57121", ())
    words = main.filled(main.upgrade, path="/opt/a b; rm")
    assert words == ["ssh", "10.0.0.1", "crowdstream", "upgrade", "--port", "57120", "/opt/a b; rm"]


@pytest.mark.parametrize(("text", "reason"), [
    ("[[server]]\nname = 'a'", "host must be"),
    ("[[server]]\nhost = '-oProxyCommand=x'", "host must be"),
    ("[[server]]\nhost = 'a b'", "host must be"),
    ("[[server]]\nhost = 'a'\nname = 'all'", "name must have"),
    ("[[server]]\nhost = 'a'\nport = 0", "port must be"),
    ("[[server]]\nhost = 'a'\nport = true", "port must be"),
    ("[[server]]\nhost = 'a'\ngroups = 'x'", "groups must be"),
    ("[[server]]\nhost = 'a'\nsettings = 'x.toml'", "absolute path"),
    ("[[server]]\nhost = 'a'\nupgrade = 'ssh {hots}'", "unknown placeholder {hots}"),
    ("[[server]]\nhost = 'a'\nupgrade = 'ssh \"'", "upgrade:"),
    ("[[server]]\nhost = 'a'\nhots = 'b'", "unknown key 'hots'"),
    ("[servers]\nhost = 'a'", "unknown table 'servers'"),
    ("[fleet]\ndiscover = 1", "true or false"),
    ("[fleet]\nfind = true", "[fleet] may have"),
    ("server = 3", "tables [[server]]"),
    ("host = ", "line 1"),
    ("a." * 30 + "b = 1", "more than 16 parts"),
])  # fmt: skip
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(FleetError) as error:
        read_members(fleet_file(tmp_path, text))
    assert reason in str(error.value) and "fleet.toml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="No such file"):
        read_members(tmp_path / "none.toml")


@pytest.mark.parametrize(("text", "name", "place"), [
    ("bar", "bar", "bar:57120"),
    ("10.0.0.2:9000", "10.0.0.2-9000", "10.0.0.2:9000"),
    ("left=10.0.0.2:9000", "left", "10.0.0.2:9000"),
    ("six=[fd77::1]:9000", "six", "[fd77::1]:9000"),
    ("six=fd77::1", "six", "[fd77::1]:57120"),
])  # fmt: skip
def test_a_server_is_named_on_the_command_line(text: str, name: str, place: str) -> None:
    member = parse_place(text)
    assert (member.name, member.place) == (name, place)


@pytest.mark.parametrize("text", ["", "a:b", "a:70000", "=a", "-x", "a:²"])
def test_a_wrong_server_on_the_command_line_is_refused(text: str) -> None:
    with pytest.raises(FleetError):
        parse_place(text)


def test_servers_are_chosen_by_name_and_group() -> None:
    one = make_member({"host": "a", "groups": ["x"]}, "test")
    two, three = Member("b", "b"), Member("c", "c", groups=frozenset("x"))
    fleet = [one, two, three]
    assert select(fleet, []) == select(fleet, ["all"]) == fleet
    assert select(fleet, ["x"]) == [one, three]
    assert select(fleet, ["b", "x"]) == fleet
    with pytest.raises(FleetError, match="neither the name"):
        select(fleet, ["y"])


def test_duplicates_are_refused() -> None:
    with pytest.raises(FleetError, match="the name a"):
        check_members([Member("a", "x"), Member("a", "y")])
    with pytest.raises(FleetError, match="the place x:57120"):
        check_members([Member("a", "x"), Member("b", "x")])


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    page = (PROJECT / "docs/how-to/run-a-fleet.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    (main, bar), _discover = read_members(fleet_file(tmp_path, example))
    assert main.copy[0] == "rsync" and bar.copy == () and set(main.targets) == {
        "settings", "schedule", "library"
    }
