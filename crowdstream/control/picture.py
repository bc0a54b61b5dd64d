"""Provisional."""

from typing import Any


class Picture:
    def __init__(self, core: Any) -> None:
        self.core = core
        self.last: dict[str, Any] = {}

    def forget(self) -> None:
        self.last = {}

    def changes(self) -> dict[str, Any]:
        values = {"clock": {"bpm": self.core.beats.bpm, "meter": self.core.beats.meter}}
        for key, deck in zip(("deck.A", "deck.B"), (0, 1), strict=True):
            values[key] = {**self.core.status.deck_readings(deck)}
        out = {k: v for k, v in values.items() if self.last.get(k) != v}
        self.last = values
        return out
