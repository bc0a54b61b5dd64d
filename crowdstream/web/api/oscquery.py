"""OSCQuery: programs that speak OSC find out what there is to be said, and within which ranges.

Follows the OSCQuery proposal (Vidvox and others): each OSC address is also an address of HTTP,
whose answer describes it and what is below it; `?HOST_INFO` says where OSC is listened for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.control.publish.address_values import Picture, getter
from crowdstream.system.json_text import encoded
from crowdstream.system.network_address import is_everywhere
from crowdstream.web.api.command_api import NO_STORE, told, wrong
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
# The proposal's names of units; others are told as the table has them.
_UNITS = {
    "s": "time.second", "dB": "gain.db", "dBTP": "gain.db", "beats a minute": "time.bpm",
    "Hz": "time.hz",
}  # fmt: skip


def tree(table: list[Command]) -> Node:
    """The address space, without values: its root."""
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
    # What a client should send: all arguments, or (OVERLOADS) only the first of them.
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
        # What is out of range is refused, and nothing changes.
        shape["CLIPMODE"] = ["none"] * len(args)
    return shape


def _range(arg: dict[str, Any]) -> Node | None:
    if arg["choices"]:
        return {"VALS": arg["choices"]}
    limits = {"MIN": 0 if arg["or_zero"] else arg["low"], "MAX": arg["high"]}
    return {name: value for name, value in limits.items() if value is not None} or None


def with_values(node: Node, picture: Picture, defaults: Callable[[str], list[Any]]) -> Node:
    """A node and all below it, with the values that the picture has."""
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
    """What would have to be sent for the node to be as it is; None where that is not known."""
    read = getter(node["FULL_PATH"])
    values = read(picture) if read else None
    if values is None:
        return None
    # A VALUE has as many elements as TYPE: how long a ramp takes is no state.
    return values + defaults(node["FULL_PATH"])[len(values) :]


def asked(request: Request) -> bool:
    """Whether a request for `/` asks for the address space, not for the page."""
    name = str(request.url.query).partition("&")[0].partition("=")[0]
    html = "text/html" in request.headers.get("accept", "")
    return name == "HOST_INFO" or name in ATTRIBUTES or not html


def _nothing() -> Response:
    return wrong(404, "nothing is there, and there is no such OSC address")


class Web(Protocol):
    """What it needs of the web process (see `app.Web`)."""

    link: ControlClient


class OscQuery:
    """Answers what is asked of OSC addresses: of any path that nothing else is at.

    What is asked of `/` may be meant for the page, see `asked`.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._table: list[Command] = []
        self._root = tree([])
        self._commands: dict[str, Command] = {}
        self._bodies: dict[str, bytes] = {}
        """Nodes with others below them, with the values of `_version`."""
        self._version = -1

    def missing(self, request: Request) -> Response | None:
        """404 for a path that is no OSC address."""
        if "HOST_INFO" in str(request.url.query) or self._find(request.scope["path"]) is not None:
            return None
        return _nothing()

    def host_info(self) -> dict[str, Any]:
        """Where OSC is listened for, and what of the proposal there is."""
        about = self._web.link.about
        info = {
            "NAME": f"CrowdStream {socket.gethostname()}", "OSC_PORT": about.get("osc_port", 0),
            "OSC_TRANSPORT": "UDP", "EXTENSIONS": EXTENSIONS,
        }  # fmt: skip
        host = str(about.get("osc_host", ""))
        if host and not is_everywhere(host):  # else it is where HTTP was answered
            info["OSC_IP"] = host
        return info

    async def answer(self, request: Request) -> Response:
        """The description of a node, one attribute of it, or of the server."""
        name = str(request.url.query).partition("&")[0].partition("=")[0]
        if name == "HOST_INFO":
            return told(self.host_info())
        node = self._find(request.scope["path"])
        if node is None:
            return _nothing()
        if name and name not in ATTRIBUTES:
            return wrong(400, f"{name[:40]} is no attribute that this server has")
        try:
            picture = await self._web.link.seen()
        except Busy:  # what there is to be said stays the same
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
        return told({name: found})

    def _described(self, node: Node, picture: Picture) -> Response:
        # The root is 200 KB, which takes 30 ms, and is the same until something changes.
        version = self._web.link.version
        if version != self._version:
            self._version = version
            self._bodies.clear()
        path = node["FULL_PATH"]
        body = self._bodies.get(path)
        if body is None:
            body = encoded(with_values(node, picture, self._defaults)).encode()
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

