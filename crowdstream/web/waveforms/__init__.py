"""Waveforms: a process that computes pyramids of peaks, and the routes that serve them to pages."""
