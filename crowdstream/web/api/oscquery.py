"""OSCQuery: OSC programs discover the address space, its types and its ranges over HTTP.

Follows the OSCQuery proposal (Vidvox and others): each OSC address is also an HTTP path that
describes the node and its children; `?HOST_INFO` gives the host and port for OSC. Aliases are nodes
of their own, with the value of the address that they stand for.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.control.publish.address_values import Picture, getter
from crowdstream.system.network_address import is_any_address
from crowdstream.system.text import to_json
from crowdstream.web.api.command_api import NO_STORE, error_response, json_response
from crowdstream.web.api.commands import Command, addresses, with_aliases
from crowdstream.web.control_client import Busy, ControlClient

Node = dict[str, Any]

NO_VALUE, WRITE, READ_WRITE = 0, 2, 3
ATTRIBUTES = frozenset({
    "FULL_PATH", "CONTENTS", "TYPE", "ACCESS", "RANGE", "DESCRIPTION", "VALUE", "UNIT", "CLIPMODE",
    "OVERLOADS",
})  # fmt: skip
EXTENSIONS = {
    **dict.fromkeys(
        ("ACCESS", "VALUE", "RANGE", "DESCRIPTION", "UNIT", "CLIPMODE", "OVERLOADS"), True
    ),
    **dict.fromkeys(
        ("TAGS", "EXTENDED_TYPE", "CRITICAL", "HTML", "LISTEN", "PATH_CHANGED", "PATH_ADDED",
         "PATH_REMOVED", "PATH_RENAMED"), False
    ),
}  # fmt: skip
# Units with names in the proposal; others are sent as they stand in the table.
_UNITS = {
    "s": "time.second", "dB": "gain.db", "dBTP": "gain.db", "beats a minute": "time.bpm",
    "Hz": "time.hz",
}  # fmt: skip


def tree(table: list[Command]) -> Node:
    """The root of the address space, without values."""
    root = _container("/")
    for command in with_aliases(table):
        method = _method(command)
        for address, stands_for in zip(addresses(command), present(command), strict=True):
            node, path = root, ""
            for part in address.strip("/").split("/"):
                path += f"/{part}"
                node = node.setdefault("CONTENTS", {}).setdefault(part, _container(path))
            node |= method
            if getter(stands_for):
                node["ACCESS"] = READ_WRITE
    return root


def present(command: Command) -> Iterator[str]:
    """The addresses that hold the values of `addresses(command)`: other ones if it is an alias."""
    return addresses({"address": command.get("alias_of", command["address"])})


def _container(path: str) -> Node:
    return {"FULL_PATH": path, "ACCESS": NO_VALUE}


def _method(command: Command) -> Node:
    # TYPE lists all arguments; OVERLOADS lists the shorter forms without optional arguments.
    args = [arg for arg in command["args"] if arg["type"] != "*"]
    required = sum("default" not in arg for arg in args)
    text = f"Alias of {command['alias_of']}. " if "alias_of" in command else ""
    node: Node = {"ACCESS": WRITE, "DESCRIPTION": text + command["help"], **_shape(args)}
    if required < len(args):
        shorter = range(len(args) - 1, required - 1, -1)
        node["OVERLOADS"] = [_shape(args[:count]) for count in shorter]
    return node


def _shape(args: list[dict[str, Any]]) -> Node:
    shape: Node = {"TYPE": "".join(arg["type"] for arg in args)}
    if args:
        shape["RANGE"] = [_range(arg) for arg in args]
        shape["UNIT"] = [_UNITS.get(arg["unit"], arg["unit"] or None) for arg in args]
        # Values out of range are refused, not clipped.
        shape["CLIPMODE"] = ["none"] * len(args)
    return shape


def _range(arg: dict[str, Any]) -> Node | None:
    if arg["choices"]:
        return {"VALS": arg["choices"]}
    limits = {"MIN": 0 if arg["or_zero"] else arg["low"], "MAX": arg["high"]}
    return {name: value for name, value in limits.items() if value is not None} or None


def wants_address_space(request: Request) -> bool:
    """Whether a request for `/` asks for the address space and not for the page."""
    name = str(request.url.query).partition("&")[0].partition("=")[0]
    html = "text/html" in request.headers.get("accept", "")
    return name == "HOST_INFO" or name in ATTRIBUTES or not html


def _nothing() -> Response:
    return error_response(404, "not found: neither a page nor an OSC address")


class Web(Protocol):
    """The part of `app.Web` that this module uses."""

    link: ControlClient


class OscQuery:
    """Answers OSCQuery requests: those for any path that has no other route.

    A request for `/` may also be meant for the page, see `wants_address_space`.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._table: list[Command] = []
        self._root = tree([])
        self._commands: dict[str, tuple[Command, str]] = {}
        """By address: its command, and the address that holds its value."""
        self._bodies: dict[str, bytes] = {}
        """Encoded nodes that have children, with the values of `_version`."""
        self._version = -1

    def missing(self, request: Request) -> Response | None:
        """Return 404 for a path that is not an OSC address."""
        if "HOST_INFO" in str(request.url.query) or self._find(request.scope["path"]) is not None:
            return None
        return _nothing()

    def host_info(self) -> dict[str, Any]:
        """The host and port for OSC, and the supported parts of the proposal."""
        about = self._web.link.about
        info = {
            "NAME": f"CrowdStream {socket.gethostname()}", "OSC_PORT": about.get("osc_port", 0),
            "OSC_TRANSPORT": "UDP", "EXTENSIONS": EXTENSIONS,
        }  # fmt: skip
        host = str(about.get("osc_host", ""))
        if host and not is_any_address(host):  # otherwise OSC has the same host as HTTP
            info["OSC_IP"] = host
        return info

    async def answer(self, request: Request) -> Response:
        """Return the description of a node, one attribute of it, or the host info."""
        name = str(request.url.query).partition("&")[0].partition("=")[0]
        if name == "HOST_INFO":
            return json_response(self.host_info())
        node = self._find(request.scope["path"])
        if node is None:
            return _nothing()
        if name and name not in ATTRIBUTES:
            return error_response(400, f"{name[:40]} is not a supported attribute")
        try:
            picture = await self._web.link.complete_picture()
        except Busy:  # the description stays valid without values
            picture = {}
        if name == "VALUE":
            found = self._value_of(node, picture)
        elif name == "CONTENTS":
            found = self._with_values(node, picture).get(name)
        elif name:
            found = node.get(name)
        else:
            return self._described(node, picture)
        if found is None:
            return Response(status_code=204, headers=NO_STORE)
        return json_response({name: found})

    def _described(self, node: Node, picture: Picture) -> Response:
        # Encoding the root (200 KB) takes 30 ms; it is reused until something changes.
        version = self._web.link.version
        if version != self._version:
            self._version = version
            self._bodies.clear()
        path = node["FULL_PATH"]
        body = self._bodies.get(path)
        if body is None:
            body = to_json(self._with_values(node, picture)).encode()
            if "CONTENTS" in node:
                self._bodies[path] = body
        return Response(body, media_type="application/json", headers=NO_STORE)

    def _find(self, path: str) -> Node | None:
        table = self._web.link.table
        if table is not self._table:
            self._table, self._root = table, tree(table)
            self._commands = {
                address: (command, stands_for)
                for command in with_aliases(table)
                for address, stands_for in zip(addresses(command), present(command), strict=True)
            }
        node: Node | None = self._root
        for part in path.strip("/").split("/") if path.strip("/") else ():
            node = (node or {}).get("CONTENTS", {}).get(part)
        return node

    def _with_values(self, node: Node, picture: Picture) -> Node:
        # A copy of a node and its children with current values from the picture.
        made = dict(node)
        if node["ACCESS"] == READ_WRITE:
            value = self._value_of(node, picture)
            if value is not None:
                made["VALUE"] = value
        if "CONTENTS" in node:
            below = node["CONTENTS"].items()
            made["CONTENTS"] = {name: self._with_values(one, picture) for name, one in below}
        return made

    def _value_of(self, node: Node, picture: Picture) -> list[Any] | None:
        # The arguments that would set a node to its current state; None if that is unknown.
        if node["FULL_PATH"] not in self._commands:
            return None
        command, address = self._commands[node["FULL_PATH"]]
        read = getter(address)
        values = read(picture) if read else None
        if values is None:
            return None
        # VALUE has as many elements as TYPE: arguments that are no state (a ramp's time) get
        # defaults.
        args = [arg for arg in command["args"] if arg["type"] != "*"]
        return values + [arg.get("default") for arg in args][len(values) :]

