"""Broadcasts: the master as a stream for Icecast, HLS or Snapcast, in a process of its own."""
