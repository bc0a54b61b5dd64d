"""Where the library is."""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """Return the default path, `$XDG_DATA_HOME/crowdstream/library.db`.

    XDG_DATA_HOME defaults to `~/.local/share`.
    """
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "crowdstream" / "library.db"
