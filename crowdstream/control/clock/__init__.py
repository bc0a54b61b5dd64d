"""The musical clock: frames, beats, tempo, MIDI ticks, quantization, movement."""
