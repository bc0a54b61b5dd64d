"""How loud a deck goes into the mix."""

from __future__ import annotations

from crowdstream.desk.layout import RAMP_DECK
from crowdstream.engine import views
from crowdstream.engine.jit import kernel
from crowdstream.engine.ramps import fill_ramp


@kernel
def deck_gain(address, deck, out, count):
    """Write the deck's linear gain at each of `count` frames to `out`."""
    fill_ramp(views.ramps(address)[RAMP_DECK + deck], out, count)
