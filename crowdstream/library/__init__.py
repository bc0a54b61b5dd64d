"""The library of tracks: finding them, having them analysed, keeping what is known of them.

`Library` and `Query` are what others need; `crowdstream analyze` fills it.
See docs/how-to/prepare-stems.md.
"""

from crowdstream.library.database import Library, LibraryError, NoLibrary, default_place
from crowdstream.library.models import Entry, Query

__all__ = ["Entry", "Library", "LibraryError", "NoLibrary", "Query", "default_place"]
