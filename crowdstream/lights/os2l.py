"""OS2L messages: beats, and buttons and commands for phrases, sections and energy.

The format is that of os2l.org: JSON objects with the key `evt`. A program that has a button with
the name of a section, such as `drop`, presses it during that section.
"""

from __future__ import annotations

from typing import Any

from crowdstream.lights.levels import Levels
from crowdstream.lights.music import Moment, energy_of

PHRASE_BUTTON, BAR_BUTTON = "phrase", "bar"
ENERGY_COMMAND, PHRASE_COMMAND, SECTION_COMMAND = 1, 2, 3


def _button(name: str, on: bool) -> dict[str, Any]:
    return {"evt": "btn", "name": name, "state": "on" if on else "off"}


def _command(number: int, share: float) -> dict[str, Any]:
    return {"evt": "cmd", "id": number, "param": round(100.0 * min(1.0, max(0.0, share)), 1)}


def section_change(before: str, section: str) -> list[dict[str, Any]]:
    """Return the messages for a section behind another one; empty: none."""
    made = [_button(before, False)] if before and before != section else []
    return [*made, _button(section, True)] if section else made


class Os2lMessages:
    """Makes the messages of each beat, and of what changes between beats."""

    def __init__(self) -> None:
        self._last: Moment | None = None
        self._section = ""
        self._pressed: list[str] = []

    @property
    def pressed_section(self) -> str:
        """The section whose button is pressed, empty if none is."""
        return self._section

    def beat(self, now: Moment, levels: Levels) -> list[dict[str, Any]]:
        """Return the messages of a beat that begins now."""
        before, self._last = self._last, now
        jumped = before is None or before.source != now.source or now.number != before.number + 1
        energy = energy_of(now, levels)
        made = [
            {"evt": "beat", "change": jumped, "pos": now.number, "bpm": round(now.bpm, 2),
             "strength": round(energy, 3)},
        ]  # fmt: skip
        made += [_button(name, False) for name in self._pressed]
        self._pressed = []
        if now.beat_in_bar == 0:
            self._pressed.append(BAR_BUTTON)
        if now.starts_phrase:
            self._pressed.append(PHRASE_BUTTON)
        made += [_button(name, True) for name in self._pressed]
        made += self.section(now)
        made.append(_command(ENERGY_COMMAND, energy))
        made.append(_command(PHRASE_COMMAND, now.place.phrase_beat / now.place.phrase_beats))
        if now.place.section:
            made.append(_command(SECTION_COMMAND, now.place.section_done))
        return made

    def section(self, now: Moment) -> list[dict[str, Any]]:
        """Return the messages of a section that has begun; also needed when nothing plays."""
        made: list[dict[str, Any]] = []
        if not now.playing:  # there is no next beat that would release them
            made += [_button(name, False) for name in self._pressed]
            self._pressed = []
        section = now.place.section if now.playing else ""
        if section == self._section:
            return made
        before, self._section = self._section, section
        return made + section_change(before, section)
