"""Voices: playhead, clock sync, loops, stems and keylock."""
