"""Musical time for processes that follow the music: the audible frame, and the beat at it."""
