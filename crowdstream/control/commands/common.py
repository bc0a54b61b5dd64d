"""What several commands share."""

from __future__ import annotations

from crowdstream.control.context import Context
from crowdstream.control.table import BANDS
from crowdstream.desk.layout import eq_ramp

MOST_GAIN = 4.0  # +12 dB


def context_frame(context: Context) -> int:
    """The frame a command acts at, as a number also when that is "at once"."""
    return context.frame or context.now


def start_frame(context: Context, start_at: float) -> int:
    """The frame of a `start_at` argument; a bundle's time tag counts where it says "now"."""
    frame = context.mixer.beats.frame_of_start(start_at, context_frame(context))
    return frame or context.frame


def band_row(deck: int, band: str) -> int:
    """Row of the ramp of a deck's EQ band."""
    return eq_ramp(deck, BANDS.index(band))
