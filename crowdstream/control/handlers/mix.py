"""Mixer commands: crossfader, trim, isolator, filter, limiter, cue bus and meters."""

from __future__ import annotations

from crowdstream.commands.registry import BANDS, TABLE, Arg
from crowdstream.control.decks.channel_strip import MAX_DB, decibel_gain
from crowdstream.control.decks.deck_manager import RAMP_SECONDS
from crowdstream.control.handlers.common import MAX_GAIN, band_row
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import DECKS
from crowdstream.desk.opcodes import CURVE_ADDITIVE, CURVE_CUT, CURVE_POWER
from crowdstream.desk.ramps import (
    RAMP_CROSSFADER,
    RAMP_CUE,
    RAMP_CURVE,
    RAMP_FILTER,
    RAMP_LEFT,
    RAMP_PFL,
    RAMP_RESONANCE,
    RAMP_RIGHT,
)

# Minimum ramp time: a resonant filter whose cutoff moves faster sweeps its own ringing along,
# which is audible as a whistle.
FILTER_SECONDS = 0.02
MIN_EQ_DB = -26.0  # lower end of an isolator's knob, just above its kill
CURVES = {"additive": CURVE_ADDITIVE, "constant-power": CURVE_POWER, "cut": CURVE_CUT}
SIDES = {"left": (1.0, 0.0), "right": (0.0, 1.0), "through": (0.0, 0.0)}

_RAMP = Arg("seconds", "f", "ramp time", unit="s", low=0, high=3600, default=RAMP_SECONDS)
_ON = Arg("on", "i", "1: automatic, 0: keep the present trim", low=0, high=1, default=1)


def _band_db(band: str) -> Arg:
    return Arg(
        band, "f", f"gain of the {band} band", unit="dB", low=MIN_EQ_DB, high=MAX_DB
    )


@TABLE.add(
    "/mix/crossfader",
    Arg("position", "f", "0: left side only, 1: right side only", low=0, high=1),
    _RAMP,
    scheduled=True,
)
def crossfader(request: ServerRequest, position: float, seconds: float) -> None:
    """Move the crossfader. Slow moves follow its curve. Decks assigned `through` are unaffected."""
    request.deck_manager.ramp(request, RAMP_CROSSFADER, position, seconds)


@TABLE.add(
    "/mix/crossfader/curve",
    Arg(
        "name", "s",
        "`additive`: both sides full in the middle; `constant-power`: the same power throughout; "
        "`cut`: both sides full except at the ends",
        choices=tuple(CURVES),
    ),
    scheduled=True,
)
def crossfader_curve(request: ServerRequest, name: str) -> None:
    """Choose the crossfader curve. The default is `constant-power`."""
    for curve, row in CURVES.items():
        request.deck_manager.ramp(request, RAMP_CURVE + row, float(curve == name))


@TABLE.add(
    "/deck/{deck}/crossfader",
    Arg("side", "s", "side of the crossfader", choices=tuple(SIDES)),
    scheduled=True,
)
def deck_crossfader(request: ServerRequest, deck: int, side: str) -> None:
    """Assign the deck to a side of the crossfader, or to neither (`through`, the default)."""
    left, right = SIDES[side]
    request.deck_manager.ramp(request, RAMP_LEFT + deck, left)
    request.deck_manager.ramp(request, RAMP_RIGHT + deck, right)


@TABLE.add(
    "/deck/{deck}/eq", *(_band_db(band) for band in BANDS), _RAMP,
    scheduled=True, python="deck_eq_db",
)
def eq(
    request: ServerRequest, deck: int, low: float, mid: float, high: float, seconds: float
) -> None:
    """Set the three bands of the deck's EQ in dB. `/deck/{deck}/kill` silences a band entirely."""
    for band, decibels in zip(BANDS, (low, mid, high), strict=True):
        request.deck_manager.ramp(request, band_row(deck, band), decibel_gain(decibels), seconds)


@TABLE.add(
    "/deck/{deck}/kill",
    Arg("band", "s", "EQ band", choices=BANDS),
    Arg("on", "i", "1: silence the band, 0: restore it", low=0, high=1, default=1),
    scheduled=True,
)
def kill(request: ServerRequest, deck: int, band: str, on: int) -> None:
    """Silence a band of the deck's EQ, or restore its previous gain.

    A gain that is set while the band is killed takes effect at once, and is kept.
    """
    request.core.channel_strips.kill(request, band_row(deck, band), bool(on))


@TABLE.add(
    "/deck/{deck}/trim",
    Arg("decibels", "f", "gain before the EQ", unit="dB", low=-24, high=24),
    _RAMP,
    scheduled=True,
)
def trim(request: ServerRequest, deck: int, decibels: float, seconds: float) -> None:
    """Set the gain with which the deck enters the mixer (pre-EQ).

    This switches automatic trim off for the deck.
    """
    request.core.channel_strips.trim(request, deck, decibels, seconds)


@TABLE.add(
    "/deck/{deck}/filter",
    Arg("knob", "f", "-1: low-pass closed, 0: off, 1: high-pass closed", low=-1, high=1),
    _RAMP,
    scheduled=True,
    python="deck_filter_knob",
)
def deck_knob(request: ServerRequest, deck: int, knob: float, seconds: float) -> None:
    """Turn the deck's filter: low-pass to the left, high-pass to the right, off in the middle.

    The shortest ramp is 20 ms.
    """
    request.deck_manager.ramp(request, RAMP_FILTER + deck, knob, max(seconds, FILTER_SECONDS))


@TABLE.add(
    "/deck/{deck}/filter/resonance",
    Arg("amount", "f", "0: no peak at the cutoff, 1: one of 18 dB", low=0, high=1),
    _RAMP,
    scheduled=True,
)
def resonance(request: ServerRequest, deck: int, amount: float, seconds: float) -> None:
    """Set the resonance of the deck's filter at its cutoff. The default is 0."""
    request.deck_manager.ramp(request, RAMP_RESONANCE + deck, amount, max(seconds, FILTER_SECONDS))


@TABLE.add(
    "/mix/ceiling",
    Arg("decibels", "f", "true peak, below full scale", unit="dBTP", low=-24, high=0),
    scheduled=True,
)
def ceiling(request: ServerRequest, decibels: float) -> None:
    """Set the limiter's true-peak ceiling, as `--limiter-ceiling` does."""
    request.core.channel_strips.ceiling(request, decibels)


@TABLE.add(
    "/deck/{deck}/pfl",
    Arg("gain", "f", "linear gain on the cue bus; 0: off", low=0, high=MAX_GAIN,
        default=1.0),
    _RAMP,
    scheduled=True,
    aliases=("/deck/{deck}/listen",),
)
def pfl(request: ServerRequest, deck: int, gain: float, seconds: float) -> None:
    """Send the deck to the cue bus: pre-fader listening (PFL), after the deck's effects."""
    request.deck_manager.ramp(request, RAMP_PFL + deck, gain, seconds)


@TABLE.add(
    "/mix/cue/level",
    Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN),
    _RAMP,
    scheduled=True,
)
def cue_level(request: ServerRequest, gain: float, seconds: float) -> None:
    """Set the level of the cue bus."""
    request.deck_manager.ramp(request, RAMP_CUE, gain, seconds)


@TABLE.add("/deck/{deck}/trim/auto", _ON, scheduled=True)
def trim_auto(request: ServerRequest, deck: int, on: int) -> None:
    """Trim the deck automatically so that its tracks have the loudness of `--target-lufs`.

    A track is measured once all of it is in memory (EBU R128, all stems at full gain). Of a
    streamed track, the part played so far is measured. The default is off.
    """
    request.core.channel_strips.automatic(request, (deck,), bool(on))


@TABLE.add("/mix/autotrim", _ON, scheduled=True)
def autotrim(request: ServerRequest, on: int) -> None:
    """Trim all decks automatically, so that their tracks have the same loudness.

    The default is off: for sequencers that do not know this command, tracks keep the level at
    which they were mastered.
    """
    request.core.channel_strips.automatic(request, range(DECKS), bool(on))


@TABLE.add(
    "/meters",
    Arg("rate", "f", "times a second, 1 to 60; 0: end the subscription", low=1, high=60,
        or_zero=True),
    Arg("what", "s", "`mix`: decks, inputs, master and cue; `all`: all stems as well",
        choices=("mix", "all"), default="mix"),
    answers="`/done /meters`, then `/meter name peak rms lufs` at this rate, see *Meters* in the "
    "introduction",
    control_only=True,
    changes=False,
)
def meters(request: ServerRequest, rate: float, what: str) -> None:
    """Subscribe to the meters of decks and inputs (pre-fader), the master and the cue bus."""
    if rate:
        request.core.replies.check_subscription(request.sender)
    request.core.meters.subscribe(request, rate, what == "all", request.core.monotonic())
    request.done()
