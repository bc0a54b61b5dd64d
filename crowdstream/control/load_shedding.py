"""Control's side of load shedding: request a quality level, and publish the engine's reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.engine_queue.request import Request
from crowdstream.desk.block import Desk
from crowdstream.desk.load_shedding import FULL, REASONS
from crowdstream.desk.opcodes import EV_QUALITY, OP_QUALITY
from crowdstream.settings import Settings

AUTO = "auto"


class LoadShedding:
    """Sends the requested level to the engine, and the actual one to subscribers.

    For the control thread.
    """

    def __init__(self, desk: Desk, outbox: EngineQueue, notify: Callable[..., None]) -> None:
        self._desk = desk
        self._outbox = outbox
        self._notify = notify

    def apply_settings(self, request: Request, settings: Settings) -> None:
        """Apply the `load_shedding` setting: with `full`, quality is never lowered."""
        if settings.load_shedding == "full":
            self.hold(request, FULL)

    def hold(self, request: Request, level: int | None) -> None:
        """Hold a level from the request's frame on; None follows the load."""
        self._outbox.add(
            OP_QUALITY, request, frame=request.frame, index=-1 if level is None else level
        )

    def engine_events(self, events: np.ndarray) -> None:
        """Notify subscribers of level changes that the engine has reported."""
        for event in events[events["kind"] == EV_QUALITY]:
            self._notify("/quality", int(event["target"]), REASONS[int(event["value"])])

    def readings(self) -> dict[str, Any]:
        """Return the values for the status; the load is in percent of a block's duration."""
        quality = self._desk.quality
        held = int(quality["held"])
        return {
            "load_percent": 100.0 * float(quality["load"]),
            "quality": int(quality["level"]),
            "quality_asked": str(held - 1) if held else AUTO,
            "quality_lowered": int(quality["lowered"]),
        }
