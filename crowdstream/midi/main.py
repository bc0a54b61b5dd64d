"""The MIDI process: sends the clock, follows another one, and serves controllers.

It runs while a port or a mapping is set. The clock comes from the desk. Control receives commands
of controllers and the tempo of a followed clock, and sends values for LEDs and soft take-over. A
port that disappears is searched for. When standard input closes, the process exits.

Control's messages on standard input and the reports on standard output are JSON lines.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.desk.snapshot import read_snapshot
from crowdstream.midi.clock_in import MIN_CHANGE, ClockFollower, shortest, steered_tempo
from crowdstream.midi.clock_out import (
    CONTINUE,
    SONG_POSITION,
    START,
    STOP,
    TICK,
    ClockSender,
)
from crowdstream.midi.controller import (
    CONTROL_CHANGE,
    FINE,
    NOTE_ON,
    PRESSED,
    Command,
    Controller,
)
from crowdstream.midi.mapping import Control, ControllerMap
from crowdstream.midi.ports import InPort, MidiError, OutPort, RtMidi, System, find_port
from crowdstream.system.control_pipe import report, serve
from crowdstream.system.token_bucket import TokenBucket
from crowdstream.timing.output_clock import OutputClock

SCAN_SECONDS = 1.0  # between two looks at the ports
# The LEDs are sent once more after this time, because a connection may take effect late.
REPEAT_SECONDS = 1.0
STEER_SECONDS = 0.25  # between two corrections of the tempo
TEMPO_SECONDS = 2.0  # until the same tempo is sent again: the clock may be unable to take it
JUMP_SECONDS = 0.02  # smaller errors are removed by the tempo even if nothing plays
JUMP_PAUSE_SECONDS = 2.0  # for which a jump may take effect
REPORT_SECONDS = 2.0  # between two reports of counters
COMMANDS, COMMANDS_AT_ONCE = 400.0, 200.0  # commands per second of all controllers, and in a burst
MAX_PAUSE = 30.0  # s between two attempts to reach the MIDI system


@dataclass
class Role:
    """What a port is for: the clock that is sent or followed, or a controller.

    `wanted`: a part of the port's name. `reason`: why it is not connected. `attached`: a controller
    of another machine is used, which receives its LEDs through control.
    """

    name: str
    wanted: str
    controller: Controller | None = None
    port_in: InPort | None = None
    port_out: OutPort | None = None
    port: str = ""
    reason: str = "it is being searched for"
    attached: bool = False
    repeat_at: float = math.inf  # when the LEDs are sent once more

    def values(self) -> dict[str, Any]:
        """State as JSON values."""
        state = "connected" if self.port else "searching"
        reason = "" if self.port else self.reason
        return {"role": self.name, "wanted": self.wanted, "port": self.port, "state": state,
                "reason": reason}  # fmt: skip

    def close(self) -> None:
        """Close its ports."""
        for one in (self.port_in, self.port_out):
            if one is not None:
                with contextlib.suppress(Exception):
                    one.close()
        self.port_in = self.port_out = None
        self.port = ""
        self.repeat_at = math.inf


@dataclass
class Learning:
    """A command that waits for a control. `ports`: all inputs, which are open meanwhile."""

    address: str
    arguments: tuple[Any, ...]
    low: float
    high: float
    kind: str
    ports: dict[str, InPort] = field(default_factory=dict)


class Midi:
    """MIDI of one server, turn by turn. `connect` returns the system's ports or raises."""

    def __init__(
        self,
        desk: Desk,
        connect: Callable[[str], System] = RtMidi,
        report: Callable[[dict[str, Any]], None] = report,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._connect = connect
        self._report_to_control = report
        self._monotonic = monotonic
        self._system: System | None = None
        self._api = "auto"
        self._system_reason = ""
        self._pause = SCAN_SECONDS
        self._clock = OutputClock(desk, monotonic)
        self._roles: dict[str, Role] = {}
        self._sender: ClockSender | None = None
        self.follower = ClockFollower()
        self._values: dict[tuple[Any, ...], Any] = {}
        self._learning: Learning | None = None
        self._limit = TokenBucket(COMMANDS, COMMANDS_AT_ONCE, monotonic)
        self._scan_at = self._steer_at = self._report_at = 0.0
        self._repeat_at = 0.0
        self._tempo = self._device_tempo = 0.0  # that was sent last, and that of the device then
        self._meter = 4.0  # beats in a bar
        self._jump_at = -math.inf
        self._lost = 0
        self._ticks = 0
        self._last: dict[str, Any] = {}
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    @property
    def wake_fd(self) -> int:
        """Readable when a message has arrived."""
        return self._wake_reader

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_writer, b"x")

    # Messages of control -------------------------------------------------------------------

    def handle(self, message: dict[str, Any]) -> None:
        """Carry out a message of control."""
        match message.get("do"):
            case "configure":
                self._configure(message)
            case "meter":
                self._meter = float(message["beats"])
            case "values":
                self._set_values(message["values"])
            case "learn":
                self._learn(message)
            case "attach":
                for role in self._mapped(message["port"]):
                    role.attached = True
                    if role.controller is not None:
                        role.controller.release()
                    self._send_lights(role)
            case "message":
                self._take_message(str(message["port"]), list(message["message"]))
            case "report":
                self._last = {}
                self._report_at = 0.0

    def _mapped(self, port: str) -> list[Role]:
        return [
            role for role in self._roles.values()
            if role.controller is not None and role.wanted.casefold() in port.casefold()
        ]

    def _take_message(self, port: str, message: list[int]) -> None:
        # A message of a controller of another machine.
        if self._learning is not None:
            control = learned_control(self._learning, message)
            if control is not None:
                self._learned(port, control)
                return
        for role in self._mapped(port):
            assert role.controller is not None
            command = role.controller.handle(message, self._monotonic())
            if command is not None:
                self._command(command)

    def _command(self, command: Command) -> None:
        if self._limit.take():
            address, arguments = command
            self._report_to_control(
                {"event": "command", "address": address, "arguments": arguments}
            )
        else:
            self._lost += 1

    def _learned(self, port: str, control: Control) -> None:
        self._report_to_control({"event": "learned", "port": port, "control": asdict(control)})
        self._end_learning()

    def _configure(self, message: dict[str, Any]) -> None:
        if message["api"] != self._api:
            self._disconnect("")
            self._api = message["api"]
        wanted: dict[str, Role] = {}
        for name in ("clock", "follow"):
            if message[name]:
                wanted[name] = Role(name, message[name])
        for values in message["maps"]:
            made = ControllerMap.of_json(values)
            name = f"map {made.name}"
            if name in wanted:  # a second controller of the same model
                name += f" ({made.port})"
            wanted[name] = Role(name, made.port, Controller(made, self._values))
        for name, role in list(self._roles.items()):
            new = wanted.get(name)
            if new is None or new.wanted != role.wanted:
                self._close(role)
                del self._roles[name]
            elif new.controller is not None:
                role.controller = new.controller
                self._send_lights(role)
                del wanted[name]
            else:
                del wanted[name]
        self._roles |= wanted
        self._scan_at = self._report_at = 0.0

    def _set_values(self, values: Iterable[tuple[list[Any], Any]]) -> None:
        now = self._monotonic()
        for name, value in values:
            key = tuple(name)
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
            for role in self._roles.values():
                if role.controller is not None:
                    self._send(role, role.controller.changed(key, now))

    def _learn(self, message: dict[str, Any]) -> None:
        self._end_learning()
        if message["address"]:
            self._learning = Learning(
                message["address"], tuple(message["arguments"]), float(message["low"]),
                float(message["high"]), message["kind"],
            )
            self._scan_at = 0.0

    def _end_learning(self) -> None:
        self._close_learning_ports()
        self._learning = None

    def _close_learning_ports(self) -> None:
        if self._learning is not None:
            for port in self._learning.ports.values():
                with contextlib.suppress(Exception):
                    port.close()
            self._learning.ports.clear()

    # Ports -----------------------------------------------------------------------------------

    def _scan(self, now: float) -> None:
        self._scan_at = now + SCAN_SECONDS
        if not self._roles and self._learning is None:
            return
        try:
            if self._system is None:
                self._system = self._connect(self._api)
                self._system_reason, self._pause = "", SCAN_SECONDS
            inputs, outputs = self._system.names()
        except MidiError as error:
            self._disconnect(str(error))
            self._scan_at = now + self._pause
            self._pause = min(2.0 * self._pause, MAX_PAUSE)
            return
        for role in self._roles.values():
            self._look_for(role, inputs, outputs)
        if self._learning is not None:
            for name in inputs:
                if name not in self._learning.ports:
                    with contextlib.suppress(MidiError):
                        self._learning.ports[name] = self._system.open_in(name, self._wake)

    def _look_for(self, role: Role, inputs: list[str], outputs: list[str]) -> None:
        assert self._system is not None
        names = outputs if role.name == "clock" else inputs
        if role.port and role.port not in names:
            self._close(role)
            role.reason = "it has been unplugged"
        if role.port:
            if role.controller is not None and role.port_out is None:
                self._open_leds(role, outputs)
            return
        found = find_port(names, role.wanted)
        if found is None:
            if role.reason != "it has been unplugged":
                shown = ", ".join(names[:8]) or "none"
                role.reason = f"there is no port {role.wanted}; ports: {shown}"
            return
        try:
            if role.name != "clock":
                role.port_in = self._system.open_in(found, self._wake)
            if role.name == "clock":
                role.port_out = self._system.open_out(found)
        except MidiError as error:
            role.close()
            role.reason = str(error)
            return
        role.port = found
        if role.name == "clock" and role.port_out is not None:
            self._sender = ClockSender(
                self._desk, lambda message: self._send(role, [message]), self._clock,
                self._monotonic, lambda: self._meter,
            )
        if role.controller is not None:
            role.controller.release()
            self._open_leds(role, outputs)

    def _open_leds(self, role: Role, outputs: list[str]) -> None:
        # A device's output may appear later than its input, and many have none.
        assert self._system is not None
        name = find_port(outputs, role.wanted)
        if name is None:
            return
        try:
            role.port_out = self._system.open_out(name)
        except MidiError as error:
            self._close(role)
            role.reason = str(error)
            return
        self._send_lights(role)

    def _close(self, role: Role) -> None:
        if role.name == "clock" and self._sender is not None:
            self._sender.stop()
            self._ticks += self._sender.sent
            self._sender = None
        if role.port_in is not None:
            self._lost += role.port_in.lost
        if role.name == "follow":
            self.follower = ClockFollower()
        if role.controller is not None:
            for command in role.controller.let_go():
                self._command(command)
        role.close()

    def _disconnect(self, reason: str) -> None:
        self._system_reason = reason
        for role in self._roles.values():
            self._close(role)
            role.reason = reason
        self._close_learning_ports()  # a controller of another machine may still be moved
        if self._system is not None:
            self._system.close()
            self._system = None

    def _send(self, role: Role, messages: Iterable[list[int]]) -> None:
        if role.attached and (shown := list(messages)):
            self._report_to_control({"event": "leds", "port": role.wanted, "messages": shown})
            messages = shown
        if role.port_out is None:
            return
        try:
            for message in messages:
                role.port_out.send(message)
        except MidiError as error:
            role.port_out = None  # it must not be used for a goodbye
            self._close(role)
            role.reason = str(error)

    def _send_lights(self, role: Role) -> None:
        if role.controller is not None and (role.port or role.attached):
            role.repeat_at = self._monotonic() + REPEAT_SECONDS
            self._send(role, role.controller.lights())

    def _repeat_lights(self, now: float) -> None:
        for role in self._roles.values():
            if now >= role.repeat_at and role.controller is not None:
                role.repeat_at = math.inf
                self._send(role, role.controller.lights())

    # Turns -----------------------------------------------------------------------------------

    def turn(self) -> float:
        """Do what is due; return the instant (monotonic seconds) of the next turn."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
        now = self._monotonic()
        self._clock.read()
        tick_at = self._sender.turn() if self._sender is not None else math.inf
        for role in self._roles.values():
            if role.port_in is not None:
                self._receive(role, role.port_in)
        if self._learning is not None:
            self._look_for_control()
        if now >= self._scan_at:
            self._scan(now)
        if now >= self._steer_at:
            self._steer_at = now + STEER_SECONDS
            self._steer(now)
        self._repeat_lights(now)
        self._report_if_due(now)
        repeat_at = min((role.repeat_at for role in self._roles.values()), default=math.inf)
        steer_at = self._steer_at if self._follows else math.inf
        return min(tick_at, self._scan_at, steer_at, repeat_at)

    @property
    def _follows(self) -> bool:
        role = self._roles.get("follow")
        return role is not None and bool(role.port)

    def _receive(self, role: Role, port: InPort) -> None:
        messages = port.take()
        if role.name == "follow":
            for at, message in messages:
                self._follow(at, message)
            return
        controller = role.controller
        if controller is None:
            return
        # Every position counts for soft take-over, but only the latest of each fader is sent.
        faders = {
            (one.status, one.number + fine) for one in controller.mapping.controls
            if one.kind == "fader" for fine in (0, FINE) if not fine or one.bits == 14
        }
        commands: dict[tuple[int, ...], Command] = {}
        for number, (at, message) in enumerate(messages):
            command = controller.handle(message, at)
            if command is None:
                continue
            place = (message[0], message[1])
            key = place if place in faders else (number,)
            commands.pop(key, None)
            commands[key] = command
        for found in commands.values():
            self._command(found)

    def _look_for_control(self) -> None:
        learning = self._learning
        assert learning is not None
        for name, port in learning.ports.items():
            for _, message in port.take():
                control = learned_control(learning, message)
                if control is not None:
                    self._learned(name, control)
                    return

    def _follow(self, at: float, message: list[int]) -> None:
        follower = self.follower
        match message:
            case [first] if first == TICK:
                follower.tick(at)
            case [first] if first == START:
                follower.start()
            case [first] if first == CONTINUE:
                follower.resume()
            case [first] if first == STOP:
                follower.stop()
            case [first, low, high] if first == SONG_POSITION:
                follower.song_position(low | high << 7)

    def _steer(self, now: float) -> None:
        if self._follows:
            self.follower.check(now)
        if not self._follows or not self.follower.locked:
            self._end_pull()
            return
        self._device_tempo = self.follower.bpm
        error = self._error(now)
        if abs(error) * 60.0 / self.follower.bpm > JUMP_SECONDS and not any(
            read_snapshot(self._desk).playing
        ):
            # Nothing is audible that could jump. Forwards: a command at a beat must not recur.
            if now - self._jump_at > JUMP_PAUSE_SECONDS:
                self._jump_at = now
                self._report_to_control({"event": "jump", "beats": error % self._meter})
            error = 0.0
        bpm = steered_tempo(self.follower.bpm, error, self._meter)
        own = read_snapshot(self._desk).bpm  # which others may have changed as well
        foreign = abs(bpm - own) >= MIN_CHANGE and now >= self._repeat_at
        if foreign or abs(bpm - self._tempo) >= MIN_CHANGE:
            self._tempo, self._repeat_at = bpm, now + TEMPO_SECONDS
            self._report_to_control({"event": "tempo", "bpm": bpm})

    def _end_pull(self) -> None:
        # The device is gone: its tempo stays, and not one that removed an error of the phase.
        if self._tempo and abs(self._device_tempo - self._tempo) >= MIN_CHANGE:
            self._report_to_control({"event": "tempo", "bpm": self._device_tempo})
        self._tempo = 0.0

    def _error(self, now: float) -> float:
        # Beats by which the device is ahead, up to half a bar; 0 without its position.
        theirs = self.follower.beat(now)
        return 0.0 if theirs is None else shortest(theirs - self.own_beat(now), self._meter)

    def own_beat(self, now: float) -> float:
        """The beat of the server's clock that is audible at an instant."""
        moment = read_snapshot(self._desk)
        frames = self._clock.audible_frame(now) - moment.frame
        return moment.beat + frames / self._desk.sample_rate * moment.bpm / 60.0

    def _report_if_due(self, now: float) -> None:
        state = {
            "roles": [role.values() for role in self._roles.values()],
            "locked": self._follows and self.follower.locked,
            "learning": self._learning.address if self._learning else "",
        }
        changed = any(state[key] != self._last.get(key) for key in state)
        if not changed and now < self._report_at:
            return
        self._report_at = now + REPORT_SECONDS
        inputs = [role.port_in for role in self._roles.values() if role.port_in is not None]
        error = self._error(now) if self._follows else 0.0
        ticks = self._ticks + (self._sender.sent if self._sender is not None else 0)
        state |= {
            "bpm": round(self.follower.bpm, 3) if self._follows else 0.0,
            "error_ms": round(1000.0 * error * 60.0 / max(1.0, self.follower.bpm), 2),
            "lost": self._lost + sum(port.lost for port in inputs),
            "absurd": self.follower.absurd, "ticks": ticks,
        }  # fmt: skip
        if state != self._last:
            self._last = state
            self._report_to_control({"event": "state", **state})

    def close(self) -> None:
        """Stop the receivers of the clock, and close all ports."""
        self._disconnect("")


def learned_control(learning: Learning, message: list[int]) -> Control | None:
    """Return the control that a message comes from; None if it is not from a control."""
    if len(message) != 3:
        return None
    status, number, value = message
    kind = learning.kind
    if status & 0xF0 == NOTE_ON and value:
        kind = "toggle" if kind == "fader" else kind
    elif status & 0xF0 == CONTROL_CHANGE:
        if kind != "fader" and value < PRESSED:
            return None
    else:
        return None
    return Control(
        status, number, learning.address, learning.arguments, kind,  # type: ignore[arg-type]
        learning.low, learning.high, led=kind == "toggle",
    )


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the request as one JSON text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    desk = Desk(int(json.loads(arguments[0])["fd"]))
    gc.collect()
    gc.freeze()
    serve(Midi(desk))
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # a MIDI system that hangs must not delay the exit
