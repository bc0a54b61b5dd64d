"""A controller: from its messages to commands, with soft take-over, and from values to its LEDs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crowdstream.midi.mapping import Control, ControllerMap

NOTE_OFF, NOTE_ON, CONTROL_CHANGE = 0x80, 0x90, 0xB0
FINE = 32  # number of the control change with the fine part, after the coarse one
PRESSED = 64  # a control change from this value on is a pressed button
CATCH = 0.02  # share of the way within which a fader meets the value: 2.5 of 127 steps
# A value this far from what a fader has sent was set by somebody else, and the fader must meet it
# again. For the following time after a movement the reports may be older than the movement.
LEFT, SETTLING_SECONDS = 0.03, 0.5

Command = tuple[str, tuple[Any, ...]]
Values = Mapping[tuple[Any, ...], Any]
"""First value of each published name: an address with its leading arguments."""


@dataclass
class _State:
    coarse: int = 0
    place: float | None = None  # latest position, 0 to 1
    caught: bool = False
    sent: float | None = None  # latest position that was sent; of an encoder, the value
    sent_at: float = 0.0
    shown: int = -1  # latest value of the LED
    held: bool = False  # a button that acts while it is pressed


class Controller:
    """One connected controller. `values` are the server's, which their owner keeps up to date."""

    def __init__(self, mapping: ControllerMap, values: Values) -> None:
        self.mapping = mapping
        self._values = values
        self._controls = {(one.status, one.number): one for one in mapping.controls}
        self._fine = {
            (one.status, one.number + FINE): one for one in mapping.controls if one.bits == 14
        }
        self._states = {one: _State() for one in mapping.controls}
        self._by_name: dict[tuple[Any, ...], list[Control]] = {}
        for one in mapping.controls:
            self._by_name.setdefault(one.name, []).append(one)

    @property
    def names(self) -> set[tuple[Any, ...]]:
        """The names whose values it needs."""
        return set(self._by_name)

    def handle(self, message: list[int], now: float) -> Command | None:
        """Return the command of a message, or None. `now`: monotonic seconds."""
        if len(message) < 3 or not all(0 <= byte < 128 for byte in message[1:3]):
            return None
        status, number, value = message[:3]
        if status & 0xF0 == NOTE_OFF:
            status, value = NOTE_ON | status & 0x0F, 0
        fine = self._fine.get((status, number))
        if fine is not None:
            place = (self._states[fine].coarse * 128 + value) / 16383.0
            return self._moved(fine, place, now)
        control = self._controls.get((status, number))
        if control is None:
            return None
        if control.kind == "fader":
            if control.bits == 14:
                self._states[control].coarse = value
                return None
            return self._moved(control, value / 127.0, now)
        if control.kind == "relative":
            return self._turned(control, value if value < 64 else value - 128, now)
        return self._pressed(control, value > 0 if status & 0xF0 == NOTE_ON else value >= PRESSED)

    def _moved(self, control: Control, place: float, now: float) -> Command | None:
        state = self._states[control]
        before, state.place = state.place, place
        held = self._place_of_value(control)
        if control.takeover and held is not None and not state.caught:
            crossed = before is not None and min(before, place) <= held <= max(before, place)
            if not crossed and abs(place - held) > CATCH:
                return None
        state.caught, state.sent, state.sent_at = True, place, now
        value = control.low + (control.high - control.low) * place
        return control.address, (*control.arguments, value)

    def _place_of_value(self, control: Control) -> float | None:
        value = self._values.get(control.name)
        if not isinstance(value, int | float):
            return None
        share = (float(value) - control.low) / (control.high - control.low)
        return min(1.0, max(0.0, share))

    def _turned(self, control: Control, steps: int, now: float) -> Command | None:
        value = self._values.get(control.name)
        if not isinstance(value, int | float) or not steps:
            return None
        state = self._states[control]
        if state.sent is not None and now - state.sent_at <= SETTLING_SECONDS:
            value = state.sent  # the reports of the steps before are still on their way
        low, high = sorted((control.low, control.high))
        wanted = min(high, max(low, float(value) + control.step * steps))
        state.sent, state.sent_at = wanted, now
        return control.address, (*control.arguments, wanted)

    def _pressed(self, control: Control, on: bool) -> Command | None:
        match control.kind:
            case "hold":
                self._states[control].held = on
                return control.address, (*control.arguments, int(on))
            case "toggle" if on:
                value = self._values.get(control.name)
                is_on = isinstance(value, int | float) and value > 0
                if control.off_address:
                    address = control.off_address if is_on else control.address
                    return address, control.arguments
                return control.address, (*control.arguments, int(not is_on))
            case "button" if on:
                return control.address, (*control.arguments, *control.values)
        return None

    def changed(self, name: tuple[Any, ...], now: float) -> list[list[int]]:
        """Handle a value that has changed; return the messages for LEDs."""
        made: list[list[int]] = []
        for control in self._by_name.get(name, ()):
            state = self._states[control]
            held = self._place_of_value(control)
            settled = now - state.sent_at > SETTLING_SECONDS
            if held is not None and state.sent is not None and settled:
                state.caught = state.caught and abs(held - state.sent) <= LEFT
            made += self._led(control, state)
        return made

    def release(self) -> None:
        """Let every fader meet its value first: the controller was just plugged in."""
        for state in self._states.values():
            state.caught = False

    def let_go(self) -> list[Command]:
        """Return the commands that release held buttons: the controller was unplugged."""
        made: list[Command] = []
        for control, state in self._states.items():
            if state.held:
                state.held = False
                made.append((control.address, (*control.arguments, 0)))
        return made

    def lights(self) -> list[list[int]]:
        """Return the messages that show all values."""
        made: list[list[int]] = []
        for control, state in self._states.items():
            state.shown = -1
            made += self._led(control, state)
        return made

    def _led(self, control: Control, state: _State) -> list[list[int]]:
        if not control.led:
            return []
        value = self._values.get(control.name)
        place = self._place_of_value(control) if control.kind == "fader" else None
        if place is not None:  # a ring of LEDs around a knob
            shown = round(127.0 * place)
        else:
            is_on = isinstance(value, int | float) and value > 0
            shown = control.led_on if is_on else control.led_off
        if shown == state.shown:
            return []
        state.shown = shown
        status, number = control.status, control.number
        if control.led_note >= 0:
            status, number = NOTE_ON | status & 0x0F, control.led_note
        if control.led_channel:
            status = status & 0xF0 | control.led_channel - 1
        return [[status, number, shown]]
