"""Commands of the mixing desk: crossfader, trim, isolator, filter, limiter and cue bus."""

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
    RAMP_LISTEN,
    RAMP_RESONANCE,
    RAMP_RIGHT,
)

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
def crossfader(request: ServerRequest, position: float, seconds: float) -> None:
    """Move the crossfader; a slow move follows its curve. Decks that go through don't hear it."""
    request.mixer.ramp(request, RAMP_CROSSFADER, position, seconds)


@TABLE.add(
    "/mix/crossfader/curve",
    Arg(
        "name", "s",
        "both sides full in the middle, the same power all the way, or full but for the ends",
        choices=tuple(CURVES),
    ),
    scheduled=True,
)
def crossfader_curve(request: ServerRequest, name: str) -> None:
    """Choose the curve of the crossfader: `constant-power` at the start."""
    for curve, row in CURVES.items():
        request.mixer.ramp(request, RAMP_CURVE + row, float(curve == name))


@TABLE.add(
    "/deck/{deck}/crossfader",
    Arg("side", "s", "which side of the crossfader it is on", choices=tuple(SIDES)),
    scheduled=True,
)
def deck_crossfader(request: ServerRequest, deck: int, side: str) -> None:
    """Assign the deck to a side of the crossfader, or let it through: `through` at the start."""
    left, right = SIDES[side]
    request.mixer.ramp(request, RAMP_LEFT + deck, left)
    request.mixer.ramp(request, RAMP_RIGHT + deck, right)


@TABLE.add(
    "/deck/{deck}/eq", *(_band_db(band) for band in BANDS), _RAMP,
    scheduled=True, python="deck_eq_db",
)
def eq(
    request: ServerRequest, deck: int, low: float, mid: float, high: float, seconds: float
) -> None:
    """Set the three bands of the deck's EQ in dB; `/deck/{deck}/kill` takes one out altogether."""
    for band, decibels in zip(BANDS, (low, mid, high), strict=True):
        request.mixer.ramp(request, band_row(deck, band), decibel_gain(decibels), seconds)


@TABLE.add(
    "/deck/{deck}/kill",
    Arg("band", "s", "EQ band", choices=BANDS),
    Arg("on", "i", "1: silent, 0: as it was", low=0, high=1, default=1),
    scheduled=True,
)
def kill(request: ServerRequest, deck: int, band: str, on: int) -> None:
    """Take a band out of the deck, or bring it back at the gain that it had.

    A gain set meanwhile is heard at once, and stays.
    """
    request.core.mixing.kill(request, band_row(deck, band), bool(on))


@TABLE.add(
    "/deck/{deck}/trim",
    Arg("decibels", "f", "gain before the EQ", unit="dB", low=-24, high=24),
    _RAMP,
    scheduled=True,
)
def trim(request: ServerRequest, deck: int, decibels: float, seconds: float) -> None:
    """Set the gain with which the deck comes into the mixer, before its EQ.

    It ends automatic trim for this deck.
    """
    request.core.mixing.trim(request, deck, decibels, seconds)


@TABLE.add(
    "/deck/{deck}/filter",
    Arg("knob", "f", "-1: low-pass closed, 0: off, 1: high-pass closed", low=-1, high=1),
    _RAMP,
    scheduled=True,
    python="deck_filter_knob",
)
def deck_knob(request: ServerRequest, deck: int, knob: float, seconds: float) -> None:
    """Turn the deck's filter: low-pass to the left, high-pass to the right, off in the middle.

    It is never turned faster than in 20 ms.
    """
    request.mixer.ramp(request, RAMP_FILTER + deck, knob, max(seconds, FILTER_SECONDS))


@TABLE.add(
    "/deck/{deck}/filter/resonance",
    Arg("amount", "f", "0: no peak at the cutoff, 1: one of 18 dB", low=0, high=1),
    _RAMP,
    scheduled=True,
)
def resonance(request: ServerRequest, deck: int, amount: float, seconds: float) -> None:
    """Set how much the deck's filter stresses what lies at its cutoff: 0 at the start."""
    request.mixer.ramp(request, RAMP_RESONANCE + deck, amount, max(seconds, FILTER_SECONDS))


@TABLE.add(
    "/mix/ceiling",
    Arg("decibels", "f", "true peak, below full scale", unit="dBTP", low=-24, high=0),
    scheduled=True,
)
def ceiling(request: ServerRequest, decibels: float) -> None:
    """Set the true peak that the limiter lets through, as `--ceiling` does."""
    request.core.mixing.ceiling(request, decibels)


@TABLE.add(
    "/deck/{deck}/listen",
    Arg("gain", "f", "linear gain on the cue bus; 0: not heard", low=0, high=MAX_GAIN,
        default=1.0),
    _RAMP,
    scheduled=True,
)
def listen(request: ServerRequest, deck: int, gain: float, seconds: float) -> None:
    """Listen to the deck beforehand, on the cue bus: after its effects, before its level."""
    request.mixer.ramp(request, RAMP_LISTEN + deck, gain, seconds)


@TABLE.add(
    "/mix/cue/level",
    Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN),
    _RAMP,
    scheduled=True,
)
def cue_level(request: ServerRequest, gain: float, seconds: float) -> None:
    """Set how loud the cue bus is."""
    request.mixer.ramp(request, RAMP_CUE, gain, seconds)


@TABLE.add("/deck/{deck}/trim/auto", _ON, scheduled=True)
def trim_auto(request: ServerRequest, deck: int, on: int) -> None:
    """Trim the deck so that its tracks are as loud as `--target-lufs` says.

    A track is measured when all of it is in memory (EBU R128, all stems at full gain), a
    streamed one as far as it was heard. Off at the start.
    """
    request.core.mixing.automatic(request, (deck,), bool(on))


@TABLE.add("/mix/autotrim", _ON, scheduled=True)
def autotrim(request: ServerRequest, on: int) -> None:
    """Trim all decks so that their tracks meet at the same loudness.

    Off at the start: to sequencers that know nothing of it tracks sound as they were made.
    """
    request.core.mixing.automatic(request, range(DECKS), bool(on))


@TABLE.add(
    "/meters",
    Arg("rate", "f", "times a second, 1 to 60; 0: no more", low=1, high=60, or_zero=True),
    Arg("what", "s", "decks, master and cue, or all stems too", choices=("mix", "all"),
        default="mix"),
    answers="`/done /meters`, and from then on `/meter name peak rms lufs`, see above",
    asks=True,
    changes=False,
)
def meters(request: ServerRequest, rate: float, what: str) -> None:
    """Subscribe to meters of the decks (before their level), the master and the cue bus."""
    if rate:
        request.core.answers.check_subscription(request.sender)
    request.core.meters.subscribe(request, rate, what == "all", request.core.monotonic())
    request.done()
