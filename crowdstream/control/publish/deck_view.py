"""State view of a deck, its track, its stems and its effects, for pages."""

from __future__ import annotations

from typing import Any, Protocol

from crowdstream.commands.registry import BANDS
from crowdstream.control.clock.clock import Quantize
from crowdstream.control.decks.beatgrid import Grid
from crowdstream.control.decks.channel_strip import ChannelStrips
from crowdstream.control.decks.effects import Effects
from crowdstream.control.decks.pitch import PitchSettings
from crowdstream.control.decks.track import Track
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.publish.status import Status
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import BUSES, STEMS
from crowdstream.desk.effects import ROW_FIRST, ROW_MIX, ROW_ON
from crowdstream.desk.ramps import (
    RAMP_FILTER,
    RAMP_LEFT,
    RAMP_PFL,
    RAMP_PREFADER,
    RAMP_RESONANCE,
    RAMP_RIGHT,
    RAMP_TRIM,
    VOICE_EQ,
    VOICE_FILTER,
    VOICE_PFL,
    VOICE_RESONANCE,
    VOICE_SEND,
    VOICE_SPIN,
    deck_level_ramp,
    effect_ramp,
    eq_ramp,
    patch_ramp,
    voice_ramp,
)

GRID_TOLERANCE = 1e-4  # s, error of a thinned grid: a tenth of what is visible

# Fields of a voice that only commands change.
_VOICE = ("loop", "loop_in", "loop_out", "loop_beats", "mark_in", "slip", "direction")
_STILL = (0, 0, 0, 0.0, -1.0, 0, 1, 1.0)


class DeckViewSource(Protocol):
    """Source of a deck's state view (see `Dispatcher`)."""

    desk: Desk
    track_table: TrackTable
    effects: Effects
    channel_strips: ChannelStrips
    pitches: PitchSettings
    quantize: Quantize
    status: Status


class DeckView:
    """State view of one deck. `targets`: target values of the desk's ramps, without voices."""

    def __init__(self, core: DeckViewSource, deck: int) -> None:
        self._core = core
        self._deck = deck
        rows = [
            *(eq_ramp(deck, band) for band in range(len(BANDS))),
            deck_level_ramp(deck),
            *(
                row + deck
                for row in (
                    RAMP_TRIM, RAMP_FILTER, RAMP_RESONANCE, RAMP_PFL, RAMP_LEFT, RAMP_RIGHT
                )
            ),
            *(patch_ramp(deck, bus) for bus in range(BUSES)),
            *(RAMP_PREFADER + BUSES * deck + bus for bus in range(BUSES)),
        ]  # fmt: skip
        self._rows = rows
        self._thinned: tuple[Grid | None, Any] = (None, None)

    def fingerprint(self, targets: list[float]) -> tuple[Any, ...]:
        """Return a value that differs whenever the deck's view does, in a tenth of the time."""
        core, deck = self._core, self._deck
        track = core.status.track_of(deck)
        return (
            _track_mark(track),
            self._voice(track),
            _incoming_mark(self._incoming(track)),
            tuple([targets[row] for row in self._rows]),
            self._killed(targets),
            core.channel_strips.is_automatic(deck),
            core.quantize.decks[deck],
            core.pitches.settings(deck),
            chain_fingerprint(core.effects, deck, targets),
        )

    def value(self, targets: list[float]) -> dict[str, Any]:
        """State of the deck: times in seconds, gains linear."""
        core, deck = self._core, self._deck
        track = core.status.track_of(deck)
        keylock, semitones = core.pitches.settings(deck)
        killed = self._killed(targets)
        left, right = targets[RAMP_LEFT + deck], targets[RAMP_RIGHT + deck]
        incoming = self._incoming(track)
        return {
            "state": state_of(track),
            **self._track_values(track),
            **self._voice_values(track),
            "incoming": {"number": incoming.number, "track": incoming.name} if incoming else None,
            "quantize": core.quantize.decks[deck],
            "keylock": int(keylock),
            "pitch": semitones,
            "level": targets[deck_level_ramp(deck)],
            "trim": targets[RAMP_TRIM + deck],
            "trim_auto": int(core.channel_strips.is_automatic(deck)),
            "eq": [
                targets[eq_ramp(deck, band)] if gain is None else gain
                for band, gain in enumerate(killed)
            ],
            "kill": [int(gain is not None) for gain in killed],
            "filter": targets[RAMP_FILTER + deck],
            "resonance": targets[RAMP_RESONANCE + deck],
            "listen": targets[RAMP_PFL + deck],
            "crossfader": "left" if left > 0.5 else "right" if right > 0.5 else "through",
            "fx": chain_value(core.effects, deck, targets),
            "sends": [targets[patch_ramp(deck, bus)] for bus in range(BUSES)],
            "send_pre": [int(targets[RAMP_PREFADER + BUSES * deck + bus]) for bus in range(BUSES)],
        }

    def _killed(self, targets: list[float]) -> list[float | None]:
        # By band: the gain to which a killed band returns.
        rows = self._rows[: len(BANDS)]
        return [None if targets[row] else self._core.channel_strips.killed(row) for row in rows]

    def _incoming(self, shown: Track | None) -> Track | None:
        # The track being loaded in place of the one shown.
        coming = self._core.track_table.incoming(self._deck)
        return coming if coming is not shown else None

    def _voice(self, track: Track | None) -> tuple[Any, ...]:
        if track is None or track.voice is None or not track.sounding:
            return _STILL
        voices, slot = self._core.desk.voices, track.voice
        spin = self._core.desk.ramps["target"].item(voice_ramp(slot, VOICE_SPIN))
        return (*[voices[name].item(slot) for name in _VOICE], spin)

    def _voice_values(self, track: Track | None) -> dict[str, Any]:
        rate = self._core.desk.sample_rate
        on, first, last, beats, mark, slip, direction, spin = self._voice(track)
        known = last > first
        return {
            "loop": [first / rate, last / rate] if on else None,
            "loop_beats": beats if known else 0.0,
            "loop_left": [first / rate, last / rate] if known and not on and track
            and track.looped else None,
            "loop_in": mark / rate if mark >= 0 else None,
            "slip": slip,
            "reverse": int(direction < 0),
            "spin": int(spin > 0.0),
        }

    def _track_values(self, track: Track | None) -> dict[str, Any]:
        rate = self._core.desk.sample_rate
        if track is None:
            return dict(_NO_TRACK)
        return {
            "number": track.number,
            "buffer": track.buffer,
            "track": track.name,
            "path": track.path,
            "title": track.title,
            "artist": track.artist,
            "key": track.key,
            "reason": track.reason,
            "warning": track.warning,
            "length": track.frames / rate,
            "frames": track.frames,
            "streamed": int(track.streamed),
            "complete": int(track.complete),
            "stems": [self._stem(track, stem) for stem in range(len(track.sources))],
            "voice": -1 if track.voice is None or not track.sounding else track.voice,
            "rate": track.rate,
            "gain": track.gain,
            "bpm": track.grid.bpm if track.grid else 0.0,
            "grid": self._grid(track.grid),
            "sync": track.ratio,
            "sync_ratio": track.ratio_asked,
            "sync_quantum": track.quantum,
            "cue": track.cue_frame / rate,
            "cues": {str(number): frame / rate for number, frame in sorted(track.cues.items())},
            "lufs": track.lufs,
        }

    def _grid(self, grid: Grid | None) -> Any:
        if self._thinned[0] is not grid:
            self._thinned = (grid, grid and grid_value(grid))
        return self._thinned[1]

    def _stem(self, track: Track, stem: int) -> dict[str, Any]:
        source = track.sources[stem]
        sources, mix = self._core.desk.sources, track.mix
        row = mix.rows.get
        return {
            "name": track.stems[stem],
            "path": track.files[stem],
            "source": source,
            "frames": sources["frames"].item(source) if track.frames else 0,
            "channels": sources["channels"].item(source) if track.frames else 0,
            "gain": mix.own_gains[stem],
            "mute": int(stem in mix.mutes),
            "solo": int(stem in mix.solos),
            "eq": [row(VOICE_EQ + len(BANDS) * stem + band, 1.0) for band in range(len(BANDS))],
            "filter": row(VOICE_FILTER + stem, 0.0),
            "resonance": row(VOICE_RESONANCE + stem, 0.0),
            "listen": row(VOICE_PFL + stem, 0.0),
            "sends": [row(VOICE_SEND + STEMS * bus + stem, 0.0) for bus in range(BUSES)],
        }


_NO_TRACK: dict[str, Any] = {
    "number": 0, "buffer": 0, "track": "", "path": "", "title": "", "artist": "", "key": "",
    "reason": "", "warning": "", "length": 0.0, "frames": 0, "streamed": 0, "complete": 0,
    "stems": [], "voice": -1, "rate": 1.0, "gain": 1.0, "bpm": 0.0, "grid": None, "sync": 0.0,
    "sync_ratio": 0.0, "sync_quantum": 1.0, "cue": 0.0, "cues": {}, "lufs": None,
}  # fmt: skip


def state_of(track: Track | None) -> str:
    """State of a deck with this track: empty, loading, ready, playing or broken."""
    if track is None:
        return "empty"
    if track.sounding and track.voice is not None and track.state != "broken":
        return "playing"
    return "loading" if track.state == "opened" else track.state


def _track_mark(track: Track | None) -> tuple[Any, ...] | None:
    if track is None:
        return None
    mix = track.mix
    return (
        track.number, track.state, track.reason, track.warning, track.sounding > 0, track.voice,
        track.complete, track.looped, track.cue_frame, track.gain, track.rate, track.ratio,
        track.ratio_asked, track.quantum, track.lufs, track.grid,
        tuple(track.cues.items()), tuple(mix.own_gains), tuple(mix.mutes), tuple(mix.solos),
        tuple(mix.rows.items()),
    )  # fmt: skip


def _incoming_mark(track: Track | None) -> int:
    return track.number if track else 0


def grid_value(grid: Grid) -> dict[str, Any]:
    """A beat grid as the fewest pairs of beat and second that are exact to `GRID_TOLERANCE`."""
    pairs = simplify(list(grid.seconds.anchors), GRID_TOLERANCE)
    return {
        "source": grid.source,
        "confidence": grid.confidence,
        "uncertain": int(grid.uncertain),
        "doubt": grid.doubt,
        "beats": [beat for beat, _ in pairs],
        "seconds": [second for _, second in pairs],
    }


def simplify(pairs: list[tuple[float, float]], tolerance: float) -> list[tuple[float, float]]:
    """Select the pairs (rising) whose connecting lines pass all others within `tolerance`.

    The first and last two pairs are always kept: the grid extends their slope beyond the ends.
    """
    kept = pairs[:2]
    at, steepest, flattest = len(kept) - 1, float("inf"), float("-inf")
    for number in range(len(kept), len(pairs) - 1):
        x, y = pairs[at]
        step = pairs[number][0] - x
        slope = (pairs[number][1] - y) / step
        if not flattest <= slope <= steepest:
            # A line to this pair would miss one in between: end it at the previous pair.
            at = number - 1
            kept.append(pairs[at])
            x, y = pairs[at]
            step = pairs[number][0] - x
            slope = (pairs[number][1] - y) / step
            steepest, flattest = float("inf"), float("-inf")
        steepest = min(steepest, slope + tolerance / step)
        flattest = max(flattest, slope - tolerance / step)
    tail = [pair for pair in pairs[-2:] if pair[0] > kept[-1][0]]
    return kept + tail


def chain_fingerprint(effects: Effects, chain: int, targets: list[float]) -> tuple[Any, ...]:
    """Return a value that differs whenever the view of an effect chain does."""
    marks: list[Any] = []
    for placed in effects.chains[chain]:
        if placed is None:
            marks.append(None)
            continue
        first = effect_ramp(placed.instance, 0)
        rows = ROW_FIRST + len(placed.module.parameters)
        marks.append((placed.instance, placed.module.name, targets[first : first + rows]))
    return tuple(marks)


def chain_value(
    effects: Effects, chain: int, targets: list[float]
) -> list[dict[str, Any] | None]:
    """An effect chain slot by slot, with the target values of its parameters."""
    found: list[dict[str, Any] | None] = []
    for slot, placed in enumerate(effects.chains[chain], 1):
        if placed is None:
            found.append(None)
            continue
        first = effect_ramp(placed.instance, 0)
        found.append(
            {
                "slot": slot,
                "name": placed.module.name,
                "on": int(targets[first + ROW_ON] > 0.0),
                "mix": targets[first + ROW_MIX],
                "values": {
                    parameter.name: targets[row]
                    for row, parameter in enumerate(placed.module.parameters, first + ROW_FIRST)
                },
            }
        )
    return found
