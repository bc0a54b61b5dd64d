"""Commands of the mixing desk: crossfader, trim, isolator, filter, limiter and cue bus."""

from __future__ import annotations

from crowdstream.control.commands.common import MAX_GAIN, band_row
from crowdstream.control.mixer import RAMP_SECONDS
from crowdstream.control.mixing import MAX_DB, decibel_gain
from crowdstream.control.server_request import ServerRequest
from crowdstream.control.table import BANDS, TABLE, Arg
from crowdstream.desk.codes import CURVE_ADDITIVE, CURVE_CUT, CURVE_POWER
from crowdstream.desk.ramps import (
    RAMP_CROSSFADER,
    RAMP_CUE,
    RAMP_CURVE,
    RAMP_FILTER,
    RAMP_LEFT,
    RAMP_LISTEN,
    RAMP_RESONANCE,
    RAMP_RIGHT,
)
from crowdstream.desk.sizes import DECKS

# A resonant filter whose cutoff moves faster than this whistles: it takes its ringing along.
FILTER_SECONDS = 0.02
MIN_EQ_DB = -26.0  # what an isolator's knob does short of its kill
CURVES = {"additive": CURVE_ADDITIVE, "constant-power": CURVE_POWER, "cut": CURVE_CUT}
SIDES = {"left": (1.0, 0.0), "right": (0.0, 1.0), "through": (0.0, 0.0)}

_RAMP = Arg("seconds", "f", "ramp", unit="s", low=0, high=3600, default=RAMP_SECONDS)
_ON = Arg("on", "i", "1: automatic, 0: it stays as it is", low=0, high=1, default=1)


def _band_db(band: str) -> Arg:
    return Arg(
        band, "f", f"gain of the {band} band", unit="dB", low=MIN_EQ_DB, high=MAX_DB
    )


@TABLE.add(
    "/mix/crossfader",
    Arg("position", "f", "0: all of the left side, 1: all of the right side", low=0, high=1),
    _RAMP,
    scheduled=True,
)
def crossfader(context: ServerRequest, position: float, seconds: float) -> None:
    """Move the crossfader; a slow move follows its curve. Decks that go through don't hear it."""
    context.mixer.ramp(context, RAMP_CROSSFADER, position, seconds)


@TABLE.add(
    "/mix/crossfader/curve",
    Arg(
        "name", "s",
        "both sides full in the middle, the same power all the way, or full but for the ends",
        choices=tuple(CURVES),
    ),
    scheduled=True,
)
def crossfader_curve(context: ServerRequest, name: str) -> None:
    """Choose the curve of the crossfader: `constant-power` at the start."""
    for curve, row in CURVES.items():
        context.mixer.ramp(context, RAMP_CURVE + row, float(curve == name))


@TABLE.add(
    "/deck/{deck}/crossfader",
    Arg("side", "s", "which side of the crossfader it is on", choices=tuple(SIDES)),
    scheduled=True,
)
def deck_crossfader(context: ServerRequest, deck: int, side: str) -> None:
    """Assign the deck to a side of the crossfader, or let it through: `through` at the start."""
    left, right = SIDES[side]
    context.mixer.ramp(context, RAMP_LEFT + deck, left)
    context.mixer.ramp(context, RAMP_RIGHT + deck, right)


@TABLE.add(
    "/deck/{deck}/eq", *(_band_db(band) for band in BANDS), _RAMP,
    scheduled=True, python="deck_eq_db",
)
def eq(
    context: ServerRequest, deck: int, low: float, mid: float, high: float, seconds: float
) -> None:
    """Set the three bands of the deck's EQ in dB; `/deck/{deck}/kill` takes one out altogether."""
    for band, decibels in zip(BANDS, (low, mid, high), strict=True):
        context.mixer.ramp(context, band_row(deck, band), decibel_gain(decibels), seconds)


@TABLE.add(
    "/deck/{deck}/kill",
    Arg("band", "s", "EQ band", choices=BANDS),
    Arg("on", "i", "1: silent, 0: as it was", low=0, high=1, default=1),
    scheduled=True,
)
def kill(context: ServerRequest, deck: int, band: str, on: int) -> None:
    """Take a band out of the deck, or bring it back at the gain that it had.

    A gain set meanwhile is heard at once, and stays.
    """
    context.core.mixing.kill(context, band_row(deck, band), bool(on))


@TABLE.add(
    "/deck/{deck}/trim",
    Arg("decibels", "f", "gain before the EQ", unit="dB", low=-24, high=24),
    _RAMP,
    scheduled=True,
)
def trim(context: ServerRequest, deck: int, decibels: float, seconds: float) -> None:
    """Set the gain with which the deck comes into the mixer, before its EQ.

    It ends automatic trim for this deck.
    """
    context.core.mixing.trim(context, deck, decibels, seconds)


@TABLE.add(
    "/deck/{deck}/filter",
    Arg("knob", "f", "-1: low-pass closed, 0: off, 1: high-pass closed", low=-1, high=1),
    _RAMP,
    scheduled=True,
    python="deck_filter_knob",
)
def deck_knob(context: ServerRequest, deck: int, knob: float, seconds: float) -> None:
    """Turn the deck's filter: low-pass to the left, high-pass to the right, off in the middle.

    It is never turned faster than in 20 ms.
    """
    context.mixer.ramp(context, RAMP_FILTER + deck, knob, max(seconds, FILTER_SECONDS))


@TABLE.add(
    "/deck/{deck}/filter/resonance",
    Arg("amount", "f", "0: no peak at the cutoff, 1: one of 18 dB", low=0, high=1),
    _RAMP,
    scheduled=True,
)
def resonance(context: ServerRequest, deck: int, amount: float, seconds: float) -> None:
    """Set how much the deck's filter stresses what lies at its cutoff: 0 at the start."""
    context.mixer.ramp(context, RAMP_RESONANCE + deck, amount, max(seconds, FILTER_SECONDS))


@TABLE.add(
    "/mix/ceiling",
    Arg("decibels", "f", "true peak, below full scale", unit="dBTP", low=-24, high=0),
    scheduled=True,
)
def ceiling(context: ServerRequest, decibels: float) -> None:
    """Set the true peak that the limiter lets through, as `--ceiling` does."""
    context.core.mixing.ceiling(context, decibels)


@TABLE.add(
    "/deck/{deck}/listen",
    Arg("gain", "f", "linear gain on the cue bus; 0: not heard", low=0, high=MAX_GAIN,
        default=1.0),
    _RAMP,
    scheduled=True,
)
def listen(context: ServerRequest, deck: int, gain: float, seconds: float) -> None:
    """Listen to the deck beforehand, on the cue bus: after its effects, before its level."""
    context.mixer.ramp(context, RAMP_LISTEN + deck, gain, seconds)


@TABLE.add(
    "/mix/cue/level",
    Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN),
    _RAMP,
    scheduled=True,
)
def cue_level(context: ServerRequest, gain: float, seconds: float) -> None:
    """Set how loud the cue bus is."""
    context.mixer.ramp(context, RAMP_CUE, gain, seconds)


@TABLE.add("/deck/{deck}/trim/auto", _ON, scheduled=True)
def trim_auto(context: ServerRequest, deck: int, on: int) -> None:
    """Trim the deck so that its tracks are as loud as `--target-lufs` says.

    A track is measured when all of it is in memory (EBU R128, all stems at full gain), a
    streamed one as far as it was heard. Off at the start.
    """
    context.core.mixing.automatic(context, (deck,), bool(on))


@TABLE.add("/mix/autotrim", _ON, scheduled=True)
def autotrim(context: ServerRequest, on: int) -> None:
    """Trim all decks so that their tracks meet at the same loudness.

    Off at the start: to sequencers that know nothing of it tracks sound as they were made.
    """
    context.core.mixing.automatic(context, range(DECKS), bool(on))


@TABLE.add(
    "/meters",
    Arg("rate", "f", "times a second, 1 to 60; 0: no more", low=1, high=60, or_zero=True),
    Arg("what", "s", "decks, master and cue, or all stems too", choices=("mix", "all"),
        default="mix"),
    answers="`/done /meters`, and from then on `/meter name peak rms lufs`, see above",
    asks=True,
    changes=False,
)
def meters(context: ServerRequest, rate: float, what: str) -> None:
    """Subscribe to meters of the decks (before their level), the master and the cue bus."""
    if rate:
        context.core.answers.check_subscription(context.sender)
    context.core.meters.subscribe(context, rate, what == "all", context.core.monotonic())
    context.done()
