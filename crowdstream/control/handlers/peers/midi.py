"""MIDI: the clock, controllers, and learning."""

from __future__ import annotations

from typing import Any

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest

_PORT = "part of the name of a port; empty: none"


@TABLE.add("/midi/clock", Arg("port", "s", _PORT, default=""), control_only=True)
def clock(request: ServerRequest, port: str) -> None:
    """Send MIDI clock, start, stop and song position to a port."""
    request.core.midi.configure(clock=port)


@TABLE.add("/midi/follow", Arg("port", "s", _PORT, default=""), control_only=True)
def follow(request: ServerRequest, port: str) -> None:
    """Follow the MIDI clock that a port receives: its tempo, and after a start its beats.

    The tempo is changed by up to 3 % to remove an error of the beats.
    """
    request.core.midi.configure(follow=port)


@TABLE.add(
    "/midi/map/add", Arg("mapping", "s", "name of a ready mapping, or path of a mapping file"),
    control_only=True,
)  # fmt: skip
def map_add(request: ServerRequest, mapping: str) -> None:
    """Use a controller's mapping, or read its file again."""
    request.core.replies.check_subscription(request.sender)
    request.core.midi.add_map(mapping)


@TABLE.add(
    "/midi/map/remove",
    Arg("mapping", "s", "a mapping as it was added, or a port with learnt controls"),
    control_only=True,
)
def map_remove(request: ServerRequest, mapping: str) -> None:
    """Stop using a mapping."""
    request.core.midi.remove_map(mapping)


@TABLE.add(
    "/midi/learn",
    Arg("address", "s", "address of the command, such as `/deck/A/level`"),
    Arg("arguments", "*", "its arguments before the value", rest=True, default=()),
    control_only=True,
)
def learn(request: ServerRequest, address: str, arguments: tuple[Any, ...]) -> None:
    """Map the next control that is moved or pressed on any MIDI device to a command.

    `/midi/learned` follows, with the port, the control, the address and the file in which it was
    saved.
    """
    request.core.replies.check_subscription(request.sender)
    request.core.midi.learn(address, arguments)


@TABLE.add("/midi/learn/cancel", control_only=True)
def learn_cancel(request: ServerRequest) -> None:
    """Stop waiting for a control."""
    request.core.midi.end_learning()


@TABLE.add(
    "/midi/attach", Arg("port", "s", "name of a port of the sender's machine"), control_only=True,
)  # fmt: skip
def attach(request: ServerRequest, port: str) -> None:
    """Use a controller of another machine, as pages do by WebMIDI: its LEDs are in the state view.

    It needs a mapping whose port is a part of this name.
    """
    request.core.midi.attach(port)


@TABLE.add(
    "/midi/message",
    Arg("port", "s", "name of a port of the sender's machine"),
    Arg("status", "i", "status byte: a note or a control change", low=0x80, high=0xBF),
    Arg("number", "i", "of the note or control change", low=0, high=127),
    Arg("value", "i", "velocity or value", low=0, high=127),
    control_only=True,
)
def message(request: ServerRequest, port: str, status: int, number: int, value: int) -> None:
    """Handle a message of a controller of another machine, with the mapping of its port."""
    request.core.midi.message(port, [status, number, value])


@TABLE.add(
    "/midi/list",
    answers="`/midi/list.reply role port state reason` for each port in use",
    control_only=True,
    changes=False,
)
def list_ports(request: ServerRequest) -> None:
    """List the ports in use: the clock, the followed clock, and controllers."""
    for one in request.core.midi.roles():
        request.reply(
            "/midi/list.reply", one["role"], one["port"] or one["wanted"], one["state"],
            one["reason"],
        )
