"""From the decks' lanes to the master: levels, and who is heard where."""

from __future__ import annotations

from crowdstream.desk.layout import DECKS
from crowdstream.engine import views
from crowdstream.engine.jit import kernel
from crowdstream.engine.levels import deck_gain


@kernel
def mix_down(address, count):
    """Apply the deck levels and add the decks up: `count` frames of the master's mix."""
    lanes = views.lanes(address)
    gain = views.gain(address)
    decks = views.decks(address)
    mix = views.mix(address)
    for i in range(count):
        mix[i, 0] = 0.0
        mix[i, 1] = 0.0
    for number in range(DECKS):
        deck_gain(address, number, gain[0], count)
        peak = decks[number].peak
        for i in range(count):
            left = lanes[i, 2 * number] * gain[0, i]
            right = lanes[i, 2 * number + 1] * gain[0, i]
            peak = max(peak, abs(left), abs(right))
            mix[i, 0] += left
            mix[i, 1] += right
        decks[number].peak = peak
