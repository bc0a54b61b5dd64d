"""Decks: tracks, voices, stems, beat grids, effects, routing and their mixer parameters."""
