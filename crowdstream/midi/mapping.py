"""Mapping files of controllers: which knob, fader or button sends which command. See
`docs/how-to/use-midi.md`.

    name = "My controller"
    port = "nanoKONTROL2"        # part of the port's name

    [[control]]
    cc = 0                       # or note = 11
    channel = 1                  # 1 to 16
    address = "/deck/A/level"
    range = [0.0, 1.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crowdstream.settings.toml import write_value

Kind = Literal["fader", "button", "toggle", "hold", "relative"]
KINDS: tuple[Kind, ...] = ("fader", "button", "toggle", "hold", "relative")
MAX_CONTROLS = 512
MAX_ARGUMENTS = 8
MAX_TEXT = 200
KEYS = ("name", "port", "source", "control")
CONTROL_KEYS = (
    "cc", "note", "channel", "address", "arguments", "kind", "range", "values", "bits", "step",
    "takeover", "led", "led_on", "led_off", "led_note", "led_channel", "off_address",
)  # fmt: skip


class MappingError(ValueError):
    """An invalid mapping; the text names the control and the fault."""


@dataclass(frozen=True)
class Control:
    """One control of a controller.

    `status`: status byte of its messages, 0x90 (note) or 0xB0 (control change) plus the channel.
    `number`: of the note or control change. The command is `address` with `arguments`, followed by
    the value. `kind`:

    - fader: the position, mapped to `low` to `high`; with `bits` 14, `number` + 32 is the fine
      part
    - button: sent when pressed, with `values` if there are any
    - toggle: 1, or 0 if the value is on now; with `off_address`, that command replaces the 0, and
      neither has a value
    - hold: 1 when pressed, 0 when released
    - relative: an endless encoder (1 to 63 forward, 127 to 64 backward), by `step` per detent

    `takeover`: a fader moves nothing until it has met the present value. `led`: the controller
    shows the value: `led_on` or `led_off` is sent as the note or control change of the control, or
    as the note `led_note` (-1: none) on channel `led_channel` (1 to 16, 0: the control's own).
    """

    status: int
    number: int
    address: str
    arguments: tuple[str | int | float, ...] = ()
    kind: Kind = "fader"
    low: float = 0.0
    high: float = 1.0
    values: tuple[str | int | float, ...] = ()
    bits: int = 7
    step: float = 0.01
    takeover: bool = True
    led: bool = False
    led_on: int = 127
    led_off: int = 0
    led_note: int = -1
    led_channel: int = 0
    off_address: str = ""

    @property
    def name(self) -> tuple[Any, ...]:
        """The address with its fixed arguments: the name under which its value is published."""
        return (self.address, *self.arguments)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Control:
        """Return the control of `asdict` or its JSON."""
        made = dict(values)
        for key in ("arguments", "values"):
            made[key] = tuple(made[key])
        return cls(**made)


@dataclass(frozen=True)
class ControllerMap:
    """The mapping of one controller. `port`: a part of the name of its ports."""

    name: str
    port: str
    controls: tuple[Control, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON-compatible values; see `of_json`."""
        controls = [asdict(one) for one in self.controls]
        return {"name": self.name, "port": self.port, "controls": controls}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> ControllerMap:
        """Return the mapping of `to_json`."""
        controls = tuple(Control.of_json(one) for one in values["controls"])
        return cls(values["name"], values["port"], controls)


def parse_map(values: Mapping[str, Any]) -> ControllerMap:
    """Check the values of a mapping file. Raises `MappingError`."""
    for key in values:
        if key not in KEYS:
            raise MappingError(f"unknown key {key}; known: {', '.join(KEYS)}")
    texts = {key: _text(values, key, key) for key in ("name", "port")}
    controls = values.get("control", [])
    if not isinstance(controls, list) or len(controls) > MAX_CONTROLS:
        raise MappingError(f"control: write [[control]], up to {MAX_CONTROLS} times")
    made: list[Control] = []
    taken: dict[tuple[int, int], int] = {}
    for number, one in enumerate(controls, 1):
        control = _control(f"control {number}", one)
        place = (control.status, control.number)
        if place in taken:
            raise MappingError(f"control {number}: the same message as control {taken[place]}")
        taken[place] = number
        made.append(control)
    return ControllerMap(texts["name"], texts["port"], tuple(made))


def _text(values: Mapping[str, Any], key: str, about: str) -> str:
    text = values.get(key)
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise MappingError(f"{about}: write {key} = \"...\"")
    return text.strip()


def _control(about: str, one: Any) -> Control:
    if not isinstance(one, dict):
        raise MappingError(f"{about}: write [[control]]")
    for key in one:
        if key not in CONTROL_KEYS:
            raise MappingError(f"{about}: unknown key {key}; known: {', '.join(CONTROL_KEYS)}")
    if ("cc" in one) == ("note" in one):
        raise MappingError(f"{about}: give cc or note")
    is_note = "note" in one
    number = _whole(one, "note" if is_note else "cc", about, 0, 127)
    channel = _whole(one, "channel", about, 1, 16, 1)
    address = _text(one, "address", about)
    if not address.startswith("/"):
        raise MappingError(f"{about}: an address begins with /")
    off_address = _text(one, "off_address", about) if "off_address" in one else ""
    kind = one.get("kind", "button" if is_note else "fader")
    if kind not in KINDS:
        raise MappingError(f"{about}: kind must be one of {', '.join(KINDS)}")
    if is_note and kind in ("fader", "relative"):
        raise MappingError(f"{about}: a note can be a button, toggle or hold")
    bits = _whole(one, "bits", about, 7, 14, 7)
    if bits not in (7, 14) or (bits == 14 and (is_note or kind != "fader" or number > 31)):
        raise MappingError(f"{about}: bits = 14 needs a fader with a cc from 0 to 31")
    low, high = _range(one, about)
    step = one.get("step", 0.01)
    if not _is_number(step) or not step:
        raise MappingError(f"{about}: step must be a number other than 0")
    flags = {key: one.get(key, key == "takeover") for key in ("takeover", "led")}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise MappingError(f"{about}: {key} must be true or false")
    return Control(
        status=(0x90 if is_note else 0xB0) + channel - 1, number=number, address=address,
        arguments=_arguments(one, "arguments", about), kind=kind, low=low, high=high,
        values=_arguments(one, "values", about), bits=bits, step=float(step), **flags,
        led_on=_whole(one, "led_on", about, 0, 127, 127),
        led_off=_whole(one, "led_off", about, 0, 127, 0),
        led_note=_whole(one, "led_note", about, -1, 127, -1),
        led_channel=_whole(one, "led_channel", about, 0, 16, 0), off_address=off_address,
    )


def _whole(
    one: Mapping[str, Any], key: str, about: str, low: int, high: int, default: int | None = None
) -> int:
    value = one.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise MappingError(f"{about}: {key} must be a whole number from {low} to {high}")
    return value


def _range(one: Mapping[str, Any], about: str) -> tuple[float, float]:
    value = one.get("range", [0.0, 1.0])
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        raise MappingError(f"{about}: range must be two numbers, such as [0.0, 1.0]")
    if value[0] == value[1]:
        raise MappingError(f"{about}: the ends of range must differ")
    return float(value[0]), float(value[1])


def _arguments(one: Mapping[str, Any], key: str, about: str) -> tuple[str | int | float, ...]:
    value = one.get(key, [])
    if not isinstance(value, list) or len(value) > MAX_ARGUMENTS or not all(
        isinstance(item, str) or _is_number(item) for item in value
    ):
        raise MappingError(f"{about}: {key} must be up to {MAX_ARGUMENTS} numbers and texts")
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def map_lines(made: ControllerMap) -> Sequence[str]:
    """Return a mapping as the lines of a file, which `parse_map` reads back."""
    default = Control(0xB0, 0, "/")
    lines = [f"name = {_quoted(made.name)}", f"port = {_quoted(made.port)}"]
    for one in made.controls:
        is_note = one.status & 0xF0 == 0x90
        lines += [
            "", "[[control]]", f"{'note' if is_note else 'cc'} = {one.number}",
            f"channel = {(one.status & 0x0F) + 1}", f"address = {_quoted(one.address)}",
            f'kind = "{one.kind}"',
        ]  # fmt: skip
        if (one.low, one.high) != (0.0, 1.0):
            lines.append(f"range = [{one.low!r}, {one.high!r}]")
        for key in ("arguments", "values"):
            if items := getattr(one, key):
                shown = ", ".join(_quoted(x) if isinstance(x, str) else repr(x) for x in items)
                lines.append(f"{key} = [{shown}]")
        for key in ("bits", "step", "led_on", "led_off", "led_note", "led_channel"):
            if getattr(one, key) != getattr(default, key):
                lines.append(f"{key} = {getattr(one, key)!r}")
        if one.off_address:
            lines.append(f"off_address = {_quoted(one.off_address)}")
        for key in ("takeover", "led"):
            if getattr(one, key) != getattr(default, key):
                lines.append(f"{key} = {str(getattr(one, key)).lower()}")
    return lines


def _quoted(text: str) -> str:
    return str(write_value(text))
