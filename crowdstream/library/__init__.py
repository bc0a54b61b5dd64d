"""The track library: find tracks, have them analysed, and store the results.

`crowdstream analyze` fills the library; other packages read it through `Library` and `Query`.
See docs/how-to/prepare-stems.md.
"""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """Return the default path, `$XDG_DATA_HOME/crowdstream/library.db`.

    XDG_DATA_HOME defaults to `~/.local/share`.
    """
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "crowdstream" / "library.db"
