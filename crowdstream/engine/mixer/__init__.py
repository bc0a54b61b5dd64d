"""From decks to outputs: faders, buses, cue, master, meters, taps."""
