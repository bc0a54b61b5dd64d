"""OSCQuery: OSC programs discover the address space, its types and its ranges over HTTP.

Follows the OSCQuery proposal (Vidvox and others): each OSC address is also an HTTP path that
describes the node and its children; `?HOST_INFO` gives the host and port for OSC.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.control.publish.address_values import Picture, getter
from crowdstream.system.network_address import is_any_address
from crowdstream.system.text import to_json
from crowdstream.web.api.command_api import NO_STORE, error_response, json_response
from crowdstream.web.api.commands import Command, addresses
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
    for command in table:
        method = _method(command)
        for address in addresses(command):
            node, path = root, ""
            for part in address.strip("/").split("/"):
                path += f"/{part}"
                node = node.setdefault("CONTENTS", {}).setdefault(part, _container(path))
            node |= method
            if getter(address):
                node["ACCESS"] = READ_WRITE
    return root


def _container(path: str) -> Node:
    return {"FULL_PATH": path, "ACCESS": NO_VALUE}


def _method(command: Command) -> Node:
    # TYPE lists all arguments; OVERLOADS lists the shorter forms without optional arguments.
    args = [arg for arg in command["args"] if arg["type"] != "*"]
    required = sum("default" not in arg for arg in args)
    node: Node = {"ACCESS": WRITE, "DESCRIPTION": command["help"], **_shape(args)}
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


def with_values(node: Node, picture: Picture, defaults: Callable[[str], list[Any]]) -> Node:
    """A copy of a node and its children with current values from the picture."""
    made = dict(node)
    if node["ACCESS"] == READ_WRITE:
        value = value_of(node, picture, defaults)
        if value is not None:
            made["VALUE"] = value
    if "CONTENTS" in node:
        below = node["CONTENTS"].items()
        made["CONTENTS"] = {name: with_values(one, picture, defaults) for name, one in below}
    return made


def value_of(
    node: Node, picture: Picture, defaults: Callable[[str], list[Any]]
) -> list[Any] | None:
    """The arguments that would set a node to its current state; None if that is unknown."""
    read = getter(node["FULL_PATH"])
    values = read(picture) if read else None
    if values is None:
        return None
    # VALUE has as many elements as TYPE: arguments that are no state (a ramp's time) get defaults.
    return values + defaults(node["FULL_PATH"])[len(values) :]


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
        self._commands: dict[str, Command] = {}
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
            found = value_of(node, picture, self._defaults)
        elif name == "CONTENTS":
            found = with_values(node, picture, self._defaults).get(name)
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
            body = to_json(with_values(node, picture, self._defaults)).encode()
            if "CONTENTS" in node:
                self._bodies[path] = body
        return Response(body, media_type="application/json", headers=NO_STORE)

    def _find(self, path: str) -> Node | None:
        table = self._web.link.table
        if table is not self._table:
            self._table, self._root = table, tree(table)
            self._commands = {one: command for command in table for one in addresses(command)}
        node: Node | None = self._root
        for part in path.strip("/").split("/") if path.strip("/") else ():
            node = (node or {}).get("CONTENTS", {}).get(part)
        return node

    def _defaults(self, address: str) -> list[Any]:
        args = [arg for arg in self._commands[address]["args"] if arg["type"] != "*"]
        return [arg.get("default") for arg in args]

