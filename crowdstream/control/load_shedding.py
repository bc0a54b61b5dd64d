"""The level of quality as control knows it: what is asked for, and what the engine reports."""

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
    """Tells the engine which level to hold, and subscribers which one sounds.

    For the control thread.
    """

    def __init__(self, desk: Desk, outbox: EngineQueue, tell: Callable[..., None]) -> None:
        self._desk = desk
        self._outbox = outbox
        self._tell = tell

    def apply_settings(self, request: Request, settings: Settings) -> None:
        """What the settings say: `full` is never lowered."""
        if settings.quality == "full":
            self.hold(request, FULL)

    def hold(self, request: Request, level: int | None) -> None:
        """Hold a level from the command's frame on; None: follow the load."""
        self._outbox.add(
            OP_QUALITY, request, frame=request.frame, index=-1 if level is None else level
        )

    def engine_events(self, events: np.ndarray) -> None:
        """Pass on what the engine says of its level."""
        for event in events[events["kind"] == EV_QUALITY]:
            self._tell("/quality", int(event["target"]), REASONS[int(event["value"])])

    def readings(self) -> dict[str, Any]:
        """For the status."""
        quality = self._desk.quality
        held = int(quality["held"])
        return {
            "load_percent": 100.0 * float(quality["load"]),
            "quality": int(quality["level"]),
            "quality_asked": str(held - 1) if held else AUTO,
            "quality_lowered": int(quality["lowered"]),
        }
