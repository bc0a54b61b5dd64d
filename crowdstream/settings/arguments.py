"""An argument parser that reports errors in one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from crowdstream.settings.errors import one_line


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, with one-line errors and exit status 2."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print the error and exit."""
        self.exit(2, f"{self.prog}: {one_line(message)}; see --help\n")
