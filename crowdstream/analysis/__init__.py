"""What a track is made of: tempo, beats, key, loudness, sections, voice.

See docs/development/analysis.md.


`analyse_track` reads files, `analyse` anything that can be read like one. Both are pure: the same
samples give the same `Analysis`.
"""
