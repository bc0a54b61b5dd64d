"""The track library: find tracks, have them analysed, and store the results.

`crowdstream analyze` fills the library; other packages read it through `Library` and `Query`.
See docs/how-to/prepare-stems.md.
"""

from crowdstream.library.database import Library, LibraryError, LibraryNotFound, default_path
from crowdstream.library.models import Entry, Query

__all__ = ["Entry", "Library", "LibraryError", "LibraryNotFound", "Query", "default_path"]
