"""Live inputs as seen by control: mutes, talkover, and what the capture processes report.

Levels and filters are ramps in the desk, as those of decks. This module keeps what a ramp cannot
tell: whether an input is muted, by whom, and the settings of its talkover.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.control.decks.channel_strip import decibel_gain
from crowdstream.control.decks.deck_manager import DeckManager
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import INPUTS
from crowdstream.desk.opcodes import CAPTURE_FILE, OP_TALKOVER
from crowdstream.desk.ramps import RAMP_INPUT_MUTE
from crowdstream.system.text import printable

log = logging.getLogger(__name__)


@dataclass
class Talkover:
    """How an input ducks the music.

    It opens when the input's level exceeds `threshold` (dBFS), and closes when the level has been
    `hysteresis` (dB) below that for `hold` seconds. The music falls by `depth` (dB) within `attack`
    seconds, and rises within `release` seconds.
    """

    on: bool = False
    threshold: float = -36.0
    hysteresis: float = 6.0
    depth: float = 14.0
    attack: float = 0.1
    hold: float = 0.8
    release: float = 1.2


@dataclass
class LiveInput:
    """One input. `muted_by_guard`: it is muted because it carried the output.

    `device`, `rate` (Hz) and `latency` (s, from the microphone to the capture process) describe
    the device, `reason` why there is none.
    """

    muted: bool = False
    muted_by_guard: bool = False
    guard: bool = True
    talkover: Talkover = field(default_factory=Talkover)
    there: bool = False
    device: str = ""
    rate: float = 0.0
    latency: float = 0.0
    reason: str = ""


class LiveInputs:
    """The live inputs of a server. For the control thread."""

    def __init__(
        self,
        desk: Desk,
        engine_queue: EngineQueue,
        deck_manager: DeckManager,
        notify: Callable[..., None],
        report: Callable[[str, str], None],
        guard_request: Callable[[], Request],
    ) -> None:
        """`notify` sends an event to all subscribers, `report` one to the event log.

        `guard_request` makes the request with which an input that carries the output is muted.
        """
        self._desk = desk
        self._engine_queue = engine_queue
        self._deck_manager = deck_manager
        self._notify = notify
        self._report = report
        self._guard_request = guard_request
        self._suspected: set[int] = set()  # inputs that are muted until their tone is judged
        self.inputs = [LiveInput() for _ in range(int(desk.captures["configured"].sum()))]

    def get(self, number: int) -> LiveInput:
        """Return an input, counted from 0; raise `Refused` if the server has no such input."""
        if number >= len(self.inputs):
            flags = "a second --input" if number else "--input"
            raise Refused(f"there is no input {number + 1}: it needs {flags} at the start")
        return self.inputs[number]

    # Commands ----------------------------------------------------------------------------

    def apply_settings(self, request: Request) -> None:
        """Send the engine the settings of a new server."""
        for number in range(len(self.inputs)):
            self._send_talkover(request, number)

    def ramp(self, request: Request, number: int, row: int, target: float, seconds: float) -> None:
        """Ramp a parameter of an input, in the desk's row `row`. Raises `Refused`."""
        self.get(number)
        self._deck_manager.ramp(request, row, target, seconds)

    def mute(self, request: Request, number: int, on: bool) -> None:
        """Mute an input, or open it, also after the guard has muted it. Raises `Refused`."""
        one = self.get(number)
        one.muted, one.muted_by_guard = on, False
        self._suspected.discard(number)
        self._deck_manager.ramp(request, RAMP_INPUT_MUTE + number, float(not on))

    def set_guard(self, number: int, on: bool) -> None:
        """Choose whether an input that carries the output is muted. Raises `Refused`."""
        self.get(number).guard = on

    def set_talkover(self, request: Request, number: int, **values: Any) -> None:
        """Change fields of an input's `Talkover`. Raises `Refused`."""
        talkover = self.get(number).talkover
        for name, value in values.items():
            setattr(talkover, name, value)
        self._send_talkover(request, number)

    def _send_talkover(self, request: Request, number: int) -> None:
        one, rate = self.inputs[number].talkover, self._desk.sample_rate
        self._engine_queue.add(
            OP_TALKOVER, request, frame=request.frame, target=number, index=int(one.on),
            x=decibel_gain(one.threshold), y=decibel_gain(one.threshold - one.hysteresis),
            z=decibel_gain(-one.depth), start=round(one.attack * rate),
            loop_in=round(one.hold * rate), loop_out=round(one.release * rate),
        )  # fmt: skip

    # Reports of the capture processes ------------------------------------------------------

    def opened(self, number: int, message: Mapping[str, Any]) -> None:
        """An input's device delivers audio."""
        one = self.inputs[number]
        one.device, one.rate = str(message["device"]), float(message["rate"])
        one.latency, one.reason = float(message["latency"]), ""
        if one.there:
            return
        one.there = True
        name = printable(one.device)
        note = f" ({message['note']})" if message.get("note") else ""
        log.info("input %d: %s, %g Hz%s", number + 1, name, one.rate, note)
        self._notify("/input", number + 1, "found", one.device)
        self._report("input_found", f"input {number + 1} is there: {name}")

    def lost(self, number: int, reason: str) -> None:
        """An input has no device; its capture process searches for it."""
        one = self.inputs[number]
        if not one.there and one.reason == reason:
            return
        log.warning("input %d is silent: %s", number + 1, reason)
        self._notify("/input", number + 1, "lost", reason)
        self._report("input_lost", f"input {number + 1} is silent: {reason}")
        one.there, one.reason = False, reason
        if number in self._suspected:  # its process will not refute it any more
            self.mute(self._guard_request(), number, False)

    def feedback(self, number: int, gain: float) -> None:
        """An input carries the output, with a loop gain of `gain` (linear): mute it."""
        one = self.inputs[number]
        if one.muted or not one.guard:
            return
        self.mute(self._guard_request(), number, True)
        one.muted_by_guard = True
        self._report_feedback(number, f"loop gain {gain:.2f}")

    def howling(self, number: int, event: str, hertz: float) -> None:
        """An input has a tone at `hertz` that grows without music: mute it, to see whether it ends.

        `event`: "howling", and then "howls" if it has ended, "whistles" if not: it is not the
        server's own, and the input is opened again.
        """
        one = self.inputs[number]
        if event == "howling" and one.guard and not one.muted:
            self.mute(self._guard_request(), number, True)
            one.muted_by_guard = True
            self._suspected.add(number)
        elif event == "howls" and one.muted_by_guard:
            self._suspected.discard(number)
            self._report_feedback(number, f"howling at {hertz:.0f} Hz")
        elif event == "whistles" and one.muted_by_guard:
            log.info("input %d: the tone at %.0f Hz is not feedback", number + 1, hertz)
            self.mute(self._guard_request(), number, False)

    def _report_feedback(self, number: int, reason: str) -> None:
        one = self.inputs[number]
        text = (
            f"input {number + 1} carries the server's own output and was muted: send "
            f"/input/{number + 1}/mute 0 when the cause is gone"
        )
        log.warning("%s (%s)", text, reason)
        self._notify("/input", number + 1, "feedback", one.device)
        self._report("feedback", text)

    # Reports -----------------------------------------------------------------------------

    def state_of(self, number: int) -> str:
        """What an input does: off (none), searching, feedback, muted, waiting or playing."""
        if number >= len(self.inputs):
            return "off"
        one, capture = self.inputs[number], self._desk.captures[number]
        if int(capture["source"]) == CAPTURE_FILE:
            return "muted" if one.muted else "playing"
        if not one.there:
            return "searching"
        if one.muted:
            return "feedback" if one.muted_by_guard else "muted"
        return "playing" if self._desk.inputs[number]["locked"] else "waiting"

    def is_open(self) -> bool:
        """Whether an input that is not muted delivers audio."""
        return any(self.state_of(number) == "playing" for number in range(len(self.inputs)))

    def readings(self) -> dict[str, Any]:
        """Return the values for the status."""
        values: dict[str, Any] = {}
        for number in range(INPUTS):
            state, capture = self._desk.inputs[number], self._desk.captures[number]
            one = self.inputs[number] if number < len(self.inputs) else LiveInput()
            rate = float(capture["rate"])
            fill = 1000.0 * float(state["behind"]) / rate if rate and state["locked"] else 0.0
            name = f"input.{number + 1}"
            values |= {
                f"{name}.state": self.state_of(number),
                f"{name}.device": one.device,
                f"{name}.latency_ms": 1000.0 * one.latency + fill if one.there else 0.0,
                f"{name}.fill_ms": fill,
                f"{name}.drift_ppm": 1e6 * float(state["drift"]),
                f"{name}.gaps": int(state["gaps"]),
                f"{name}.overflows": int(capture["overflows"]),
                f"{name}.talking": int(state["talking"]),
            }
        return values

    # Saved state -------------------------------------------------------------------------

    def to_state(self) -> list[dict[str, Any]]:
        """Return the inputs as JSON-compatible state; see `restore`."""
        return [asdict(one) for one in self.inputs]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Restore the inputs from `to_state`; the desk takes precedence."""
        self.inputs = [
            LiveInput(**{**one, "talkover": Talkover(**one["talkover"])}) for one in state
        ]
        for number, one in enumerate(self.inputs):
            one.muted = self._deck_manager.target(RAMP_INPUT_MUTE + number) == 0.0
            one.muted_by_guard = one.muted_by_guard and one.muted
