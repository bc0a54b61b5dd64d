"""Decks: tracks, voices, channel strips, effects and routing, as control keeps them."""
