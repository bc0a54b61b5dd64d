"""A voice: playhead, sync, loops, stems, keylock."""
