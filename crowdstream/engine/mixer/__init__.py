"""The mixer from decks to outputs: faders, buses, cue, master, meters and taps."""
