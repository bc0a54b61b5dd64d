"""Removable music: a folder that disappears while its files are read, and returns."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path


class Stick:
    """A folder with copies of music files. `paths`: those of `sources` on the stick, by name."""

    def __init__(self, folder: Path, sources: Mapping[str, Path]) -> None:
        self._folder = folder
        self._sources = dict(sources)
        shutil.rmtree(folder, ignore_errors=True)
        self.paths = {name: folder / name / path.name for name, path in sources.items()}
        self.plug_in()

    def plug_in(self) -> None:
        """Let the folder return, with new copies of all its files. For any thread."""
        # Under another name first: the folder appears as a whole, as a mounted stick does.
        part = self._folder.with_name(f"{self._folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, source in self._sources.items():
            place = part / name / source.name
            place.parent.mkdir(parents=True)
            if source.is_dir():
                shutil.copytree(source, place)
            else:
                shutil.copyfile(source, place)
        part.rename(self._folder)

    def pull_out(self) -> None:
        """Let the folder disappear. Files that are open can't be read any further, either."""
        gone = self._folder.with_name(f"{self._folder.name}.gone")
        self._folder.rename(gone)
        for path in gone.rglob("*"):
            if path.is_file():
                with path.open("r+b") as file:
                    file.truncate(0)
        shutil.rmtree(gone)

    @property
    def there(self) -> bool:
        """Whether the folder is complete."""
        return self._folder.is_dir()

    def close(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._folder, ignore_errors=True)
