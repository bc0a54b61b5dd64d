"""Rooms in step, as seen by control: what a leader sends, and how a follower carries it out."""
