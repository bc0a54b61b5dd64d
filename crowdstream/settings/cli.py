"""Command-line flags, generated from the table of settings."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from crowdstream.settings.errors import one_line
from crowdstream.settings.files import nearest
from crowdstream.settings.schema import GROUPS, OPTIONS, Option
from crowdstream.settings.toml import write_value

# Flags that print something instead of starting the server.
ACTIONS = {
    "--list-devices": "print the sound cards and exit",
    "--show-config": "print every setting with its origin and exit",
}

_DESCRIPTION = "Plays and mixes stems on four decks, under OSC control."
_EPILOG = (
    "Each setting can also be set in a TOML file and in the environment as CROWDSTREAM_NAME"
    " (CROWDSTREAM_BUFFER_SIZE). Flags take precedence over the environment, the file, the preset"
    " and the default, in this order."
)
_OF_A_FLAG = re.compile(r"argument (--[a-z-]+)(?:/--[a-z-]+)?: (.*)", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors that list the allowed values."""

    def error(self, message: str) -> NoReturn:
        if found := _OF_A_FLAG.fullmatch(message):
            name = found[1].removeprefix("--").replace("-", "_")
            if name in OPTIONS:
                allowed = OPTIONS[name].kind.allowed
                message = f"{name}: {found[2]} (flag {found[1]}); it takes {allowed}"
        self.exit(2, f"{self.prog}: {one_line(message)}\n")


def build_parser(prog: str = "crowdstream") -> argparse.ArgumentParser:
    """Return a parser for all flags.

    Values are left as strings, and flags that are not given are missing from the namespace:
    `resolve` checks and orders them. On a wrong command line the parser prints one line that
    begins with `prog` and exits with 2.
    """
    parser = _Parser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for title, members in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in map(OPTIONS.__getitem__, members):
            names = {} if option.metavar is None else {"metavar": option.metavar}
            group.add_argument(
                option.flag,
                dest=option.name,
                help=option_help(option).replace("%", "%%"),
                **option.kind.flag,
                **names,  # type: ignore[arg-type]  # a metavar may be a tuple
            )
    for flag, text in ACTIONS.items():
        parser.add_argument(flag, action="store_true", help=text)
    return parser


def parse(argv: Sequence[str], prog: str) -> dict[str, object]:
    """Return the flags given in `argv`, unchecked; exits like the parser."""
    parser = build_parser(prog)
    namespace, unknown = parser.parse_known_args(list(argv))
    if unknown:
        parser.error(_unknown(unknown[0]))
    return vars(namespace)


def _unknown(word: str) -> str:
    if not word.startswith("-"):
        return f"unexpected argument {word!r}; see --help"
    flag = word.partition("=")[0]
    known = [*(option.flag for option in OPTIONS.values()), *ACTIONS]
    return f"unknown flag {flag}; the nearest one is {nearest(flag, known)}"


def option_help(option: Option) -> str:
    """A setting's help: its meaning, the allowed choices or range, and its default."""
    text = option.help
    if option.metavar in ("TRACK", "FILE", "DIR", "NAME", "DEVICE", "ADDRESS", "CIDR", None):
        allowed = ""
    else:
        allowed = f": {option.kind.allowed}"
    if option.name == "buffer_size":
        default = "default: the preset's"
    elif option.default is None or option.default == ():
        default = f"default: {option.unset}"
    else:
        default = f"default: {_plain_default(option.default)}"
    return f"{text}{allowed} ({default})"


def _plain_default(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(_plain_default(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else write_value(value)
