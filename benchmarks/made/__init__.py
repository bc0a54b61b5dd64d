"""Making music of which everything is known: what `benchmarks/made_tracks.py` is built from."""
