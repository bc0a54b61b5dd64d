"""Waveforms: a process that makes pyramids of peaks, and how pages come by them."""
