"""Recording: taps of the mixer, streamed to files by a process of its own.

`writer.open_audio` also writes what is rendered offline.
"""
