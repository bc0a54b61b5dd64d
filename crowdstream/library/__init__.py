"""The track library: find tracks, have them analysed, and store the results.

`crowdstream analyze` fills the library; other packages read it through `Library` and `Query`.
See docs/how-to/prepare-stems.md.
"""
