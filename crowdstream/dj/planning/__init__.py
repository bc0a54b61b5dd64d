"""Planning: the order of tracks, and the transition from each into the next."""
