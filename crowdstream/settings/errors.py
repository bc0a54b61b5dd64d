"""The error of this package, and the formatting of values in its message.

An argument parser that reports errors in one line.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

# Longer values are shortened: the message is one line on a terminal.
SHOWN_CHARACTERS = 60


class SettingError(ValueError):
    """A wrong setting.

    `str(error)` is one line that names the setting, its value, the value's origin, and what is
    allowed; a command line prints it and exits with 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Return `text` with line breaks and other unprintable characters escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def short_repr(value: object) -> str:
    """Return the repr of `value` for a message, shortened if it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = f"({type(value).__name__} too large to print)"
    if len(text) > SHOWN_CHARACTERS:
        return text[: SHOWN_CHARACTERS - 3] + "..."
    return text


def wrong_value(
    name: str, value: object, origin: str, allowed: str, secret: bool = False
) -> SettingError:
    """Return the error for a `value` that setting `name` does not allow.

    `secret`: leave out the value, which may contain a password.
    """
    shown = "the value" if secret else short_repr(value)
    return SettingError(f"{name}: {shown} ({origin}) is not {allowed}")


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations.

    Errors are one line that ends with a short usage; the exit status is 2.
    """

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print the error and exit."""
        usage = f"usage: {self.short_usage()}; see --help"
        self.exit(2, f"{self.prog}: {one_line(message)} ({usage})\n")

    def short_usage(self) -> str:
        """Return the usage without the list of options."""
        words = [self.prog, "[options]"]
        for action in self._get_positional_actions():
            many = " ..." if action.nargs in ("*", "+") else ""
            word = f"{action.metavar or action.dest}{many}"
            words.append(f"[{word}]" if action.nargs in ("*", "?") else word)
        return " ".join(words)
