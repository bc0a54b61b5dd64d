"""Recording: stream taps of the mixer to files, in a process of its own.

`writer.open_audio` also writes the files of offline rendering.
"""
