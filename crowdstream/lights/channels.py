"""The DMX channels: which value is on which channel. See `docs/how-to/drive-lights.md`."""

from __future__ import annotations

from collections.abc import Callable

from crowdstream.lights.levels import Levels
from crowdstream.lights.music import Moment, energy_of
from crowdstream.settings.light_target import CHANNELS

PULSE_BEATS = 0.5  # in which the pulse of a beat falls from 255 to 0
SECTIONS = ("", "intro", "build", "drop", "break", "verse", "outro")
SECTION_STEP = 20  # a console that rounds values still knows the section


def _share(value: float) -> int:
    # 0 to 1 as 0 to 255.
    return round(255.0 * min(1.0, max(0.0, value)))


def _count(value: float) -> int:
    return min(255, max(0, round(value)))


def _beat_pulse(moment: Moment) -> float:
    return 1.0 - moment.phase / PULSE_BEATS


def _bar_pulse(moment: Moment) -> float:
    return 1.0 - moment.phase if moment.beat_in_bar == 0 else 0.0


def _section(moment: Moment) -> int:
    kind = moment.place.section
    return SECTION_STEP * SECTIONS.index(kind) if kind in SECTIONS else 0


Value = Callable[[Moment, Levels], int]

MAP: tuple[tuple[str, Value], ...] = (
    ("beat pulse: 255 on each beat, falls to 0 within half a beat",
     lambda now, _: _share(_beat_pulse(now))),
    ("beat phase: 0 on the beat, 255 just before the next one", lambda now, _: _share(now.phase)),
    ("bar pulse: 255 on the first beat of a bar, falls to 0 within that beat",
     lambda now, _: _share(_bar_pulse(now))),
    ("bar position: 0 at its beginning, 255 at its end",
     lambda now, _: _share((now.beat_in_bar + now.phase) / now.place.meter)),
    ("number of the beat in the bar, from 1", lambda now, _: _count(now.beat_in_bar + 1)),
    ("phrase position: 0 at its beginning, 255 at its end",
     lambda now, _: _share(now.place.phrase_beat / now.place.phrase_beats)),
    ("beats left in the phrase",
     lambda now, _: _count(now.place.phrase_beats - now.place.phrase_beat)),
    ("section: 0 unknown, 20 intro, 40 build, 60 drop, 80 break, 100 verse, 120 outro",
     lambda now, _: _section(now)),
    ("section position: 0 at its beginning, 255 at its end",
     lambda now, _: _share(now.place.section_done)),
    ("beats left in the section, up to 255", lambda now, _: _count(now.place.section_left)),
    ("energy, 0 to 255", lambda now, levels: _share(energy_of(now, levels))),
    ("level of the low band (below 250 Hz), 255 is 0 dBFS, 0 is -60 dBFS",
     lambda _, levels: _share(levels.low)),
    ("level of the mid band (250 to 2500 Hz)", lambda _, levels: _share(levels.mid)),
    ("level of the high band (above 2500 Hz)", lambda _, levels: _share(levels.high)),
    ("level of the master", lambda _, levels: _share(levels.sum)),
    ("tempo in beats per minute", lambda now, _: _count(now.bpm)),
)  # fmt: skip
"""Description and value of each channel, in order."""

assert len(MAP) == CHANNELS
LEVEL_CHANNELS = range(11, 15)  # of the map, from 0: they show sound even if no track plays


def values(moment: Moment, levels: Levels) -> bytes:
    """Return the values of all channels. While nothing plays, all but the levels are 0."""
    made = bytearray(value(moment, levels) for _, value in MAP)
    if not moment.playing:
        for number in range(len(made)):
            if number not in LEVEL_CHANNELS:
                made[number] = 0
    return bytes(made)
