"""Music information retrieval: tempo, beats, key, loudness, sections and vocals of a track.

`track.analyse_track` reads files; `track.analyse` reads any object with the interface
`source.Sound`. Both are deterministic: the same samples give the same `Analysis`.

See docs/development/analysis.md.
"""
