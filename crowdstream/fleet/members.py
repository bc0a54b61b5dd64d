"""The servers of a fleet: read from a file or the command line, and chosen by name or group."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crowdstream.client.endpoint import DEFAULT_PORT
from crowdstream.system.text import MAX_SETTINGS_BYTES, TomlError, parse_toml, printable

MAX_MEMBERS = 256
ALL = "all"
CONTENTS = ("settings", "schedule", "library")
"""What can be distributed."""
COMMANDS = ("upgrade", "copy")
"""Programs of this machine that reach a server in another way than by its protocol."""
PLACEHOLDERS = frozenset(("name", "host", "port", "path", "source", "target"))

# Host names become arguments of other programs, so none may look like an option.
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:%_-]{0,252}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]{0,62}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class FleetError(Exception):
    """Wrong input, or an operation that cannot begin; the message names reason and remedy."""


@dataclass(frozen=True)
class Member:
    """One server. `targets`: where it reads what is distributed, by the words of `CONTENTS`.

    `upgrade`, `copy`: words of a command with placeholders, empty if there is none.
    """

    name: str
    host: str
    port: int = DEFAULT_PORT
    groups: frozenset[str] = frozenset()
    targets: dict[str, str] = field(default_factory=dict, hash=False)
    upgrade: tuple[str, ...] = ()
    copy: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Its address as `host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def filled(self, words: Sequence[str], **values: str) -> list[str]:
        """Return a command with its placeholders replaced; each word stays one argument."""
        known = {"name": self.name, "host": self.host, "port": str(self.port), **values}
        return [_PLACEHOLDER.sub(lambda found: known[found[1]], word) for word in words]


def parse_place(text: str) -> Member:
    """Return the member `HOST`, `HOST:PORT` or `NAME=HOST:PORT`. Raises `FleetError`."""
    name, equals, place = text.rpartition("=")
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        port = rest.removeprefix(":")
    elif place.count(":") > 1:
        host, port = place, ""
    else:
        host, _, port = place.partition(":")
    return make_member({
        "name": name if equals else place.replace("[", "").replace("]", "").replace(":", "-"),
        "host": host, "port": _port(port, text) if port else DEFAULT_PORT,
    }, text)  # fmt: skip


def _port(text: str, origin: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise FleetError(f"{printable(origin)}: the port must be a number from 1 to 65535")
    return int(text)


def make_member(table: dict[str, Any], origin: str, common: dict[str, Any] | None = None) -> Member:
    """Check the values of a server and return it. `common`: defaults of all servers."""
    origin = printable(origin)
    known = {"name", "host", "port", "groups", *CONTENTS, *COMMANDS}
    if unknown := sorted(table.keys() - known):
        raise FleetError(
            f"{origin}: unknown key {printable(unknown[0])!r}; known are {', '.join(sorted(known))}"
        )
    host, name = table.get("host"), table.get("name", table.get("host"))
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        raise FleetError(f"{origin}: host must be a host name or an address")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == ALL:
        raise FleetError(
            f"{origin}: name must have letters, digits, spaces, '.', '_' and '-', up to 63, and "
            f"not be {ALL!r}"
        )
    port = table.get("port", DEFAULT_PORT)
    if type(port) is not int or not 1 <= port <= 65535:
        raise FleetError(f"{origin}: port must be a number from 1 to 65535")
    groups = table.get("groups", [])
    if not isinstance(groups, list) or not all(
        isinstance(group, str) and _NAME.fullmatch(group) and group != ALL for group in groups
    ):
        raise FleetError(f"{origin}: groups must be a list of names")
    targets = {}
    for key in CONTENTS:
        if key in table:
            target = table[key]
            if not isinstance(target, str) or not target.startswith("/"):
                raise FleetError(f"{origin}: {key} must be an absolute path")
            targets[key] = target
    commands = {**(common or {}), **table}
    return Member(
        name, host, port, frozenset(groups), targets,
        _command(commands.get("upgrade", ""), "upgrade", origin),
        _command(commands.get("copy", ""), "copy", origin),
    )  # fmt: skip


def _command(text: Any, key: str, origin: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text)) if isinstance(text, str) else None
    except ValueError as error:
        raise FleetError(f"{origin}: {key}: {error}") from None
    if words is None:
        raise FleetError(f"{origin}: {key} must be a command as one text")
    for word in words:
        for name in _PLACEHOLDER.findall(word):
            if name not in PLACEHOLDERS:
                raise FleetError(
                    f"{origin}: {key}: unknown placeholder {{{printable(name)}}}; known are "
                    f"{', '.join(sorted(PLACEHOLDERS))}"
                )
    return words


def read_members(path: Path) -> tuple[list[Member], bool]:
    """Read a fleet's file: its servers, and whether to search for more. Raises `FleetError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        raise FleetError(f"{printable(path)}: {error.strerror or error}") from None
    if len(data) > MAX_SETTINGS_BYTES:
        raise FleetError(f"{printable(path)}: has more than {MAX_SETTINGS_BYTES} bytes")
    try:
        tables = parse_toml(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise FleetError(f"{printable(path)}: is not UTF-8") from None
    except TomlError as error:
        line = f" line {error.line}" if error.line else ""
        raise FleetError(f"{printable(path)}{line}: {error.reason}") from None
    common, servers = tables.pop("fleet", {}), tables.pop("server", [])
    if tables:
        raise FleetError(
            f"{printable(path)}: unknown table {printable(min(tables))!r}; known are [fleet] and "
            "[[server]]"
        )
    if not isinstance(common, dict) or common.keys() - {"discover", *COMMANDS}:
        raise FleetError(f"{printable(path)}: [fleet] may have discover, {', '.join(COMMANDS)}")
    discover = common.pop("discover", False)
    if not isinstance(discover, bool):
        raise FleetError(f"{printable(path)}: discover must be true or false")
    if not isinstance(servers, list) or not all(isinstance(one, dict) for one in servers):
        raise FleetError(f"{printable(path)}: servers are tables [[server]]")
    found = [
        make_member(one, f"{path}: server {number}", common)
        for number, one in enumerate(servers, 1)
    ]
    return found, discover


def check_members(members: Sequence[Member]) -> None:
    """Raise `FleetError` for two servers with one name or address, and for too many."""
    if len(members) > MAX_MEMBERS:
        raise FleetError(f"a fleet has up to {MAX_MEMBERS} servers, not {len(members)}")
    for key in ("name", "place"):
        seen: set[str] = set()
        for member in members:
            value = getattr(member, key)
            if value in seen:
                raise FleetError(f"two servers have the {key} {value}")
            seen.add(value)


def select(members: Sequence[Member], words: Sequence[str]) -> list[Member]:
    """Return the servers with these names or in these groups; all for none, or `all`.

    Raises `FleetError` for a word that is neither.
    """
    if not words or ALL in words:
        return list(members)
    for word in words:
        if not any(word == one.name or word in one.groups for one in members):
            raise FleetError(f"{printable(word)}: neither the name of a server nor of a group")
    return [one for one in members if one.name in words or one.groups & set(words)]
