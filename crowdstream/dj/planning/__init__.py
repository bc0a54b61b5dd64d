"""Planning: the order of tracks, and where and how one goes into the next."""
