"""Rooms in step: several servers that play the same set from their own files, frame by frame."""
