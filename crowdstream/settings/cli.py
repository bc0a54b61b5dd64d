"""Command-line flags, generated from the table of settings."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from crowdstream.settings.errors import Parser, SettingError
from crowdstream.settings.names import merge_names, nearest, wrong_setting
from crowdstream.settings.schema import BY_NAME, GROUPS, OPTIONS, Option, flag_of
from crowdstream.settings.toml import write_value
from crowdstream.settings.types import Refused

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


class _Parser(Parser):
    """A parser whose errors list the allowed values."""

    def error(self, message: str) -> NoReturn:
        if found := _OF_A_FLAG.fullmatch(message):
            name = found[1].removeprefix("--").replace("-", "_")
            if name in BY_NAME:
                allowed = BY_NAME[name].kind.allowed
                message = f"{BY_NAME[name].name}: {found[2]} (flag {found[1]}); it takes {allowed}"
        super().error(message)


def build_parser(prog: str = "crowdstream") -> argparse.ArgumentParser:
    """Return a parser for all flags.

    Values are left as strings, and flags that are not given are missing from the namespace:
    `resolve` checks and orders them. On a wrong command line the parser prints one line that
    begins with `prog` and exits with 2.
    """
    parser = _Parser(prog=prog, description=_DESCRIPTION, epilog=_EPILOG)
    parser.argument_default = argparse.SUPPRESS
    for title, members in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in map(OPTIONS.__getitem__, members):
            names = {} if option.metavar is None else {"metavar": option.metavar}
            text = option_help(option).replace("%", "%%")
            add_flags(group.add_argument, option, text, **option.kind.flag, **names)
    for flag, text in ACTIONS.items():
        parser.add_argument(flag, action="store_true", help=text)
    return parser


def add_flags(
    add_argument: Callable[..., argparse.Action], option: Option, help: str, **arguments: Any
) -> None:
    """Add the flag of a setting, and those of its aliases, which `--help` omits.

    `add_argument` is the method of a parser or of a group of one. The values are stored under the
    name that was used, so that `read_flags` and `duration_of` can report it.
    """
    add_argument(option.flag, dest=option.name, help=help, **arguments)
    for alias in option.aliases:
        add_argument(flag_of(alias), dest=alias, help=argparse.SUPPRESS, **arguments)


def _given(
    namespace: Mapping[str, object], names: Iterable[str]
) -> Iterable[tuple[Option, object, str]]:
    """The flags given for some settings, with their unread values."""
    for option in map(OPTIONS.__getitem__, names):
        for name in option.names:
            if (raw := namespace.get(name)) is not None:
                no = "no-" if raw is False else ""
                yield option, raw, f"flag --{no}{flag_of(name).removeprefix('--')}"


def read_flags(
    namespace: Mapping[str, object], names: Iterable[str] = OPTIONS
) -> dict[str, tuple[object, str]]:
    """Return the values and origins of the flags given for some settings, by their names.

    Raises `SettingError` for a wrong value, or for two flags of one setting that differ.
    """

    def read(option: Option, raw: object, origin: str) -> tuple[Option, object, str]:
        try:
            return option, option.kind.read_flag(raw), origin
        except Refused:
            raise wrong_setting(option, option.name, raw, origin) from None

    return merge_names(read(*one) for one in _given(namespace, names))


def add_duration(parser: argparse.ArgumentParser, help: str) -> None:
    """Add `--duration` to the parser of a subcommand; `duration_of` returns its value."""
    add_flags(parser.add_argument, OPTIONS["duration"], help, type=float, metavar="SECONDS")


def duration_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> float | None:
    """The value of `--duration` or its alias; exits if both are given with different values."""
    try:
        found = merge_names(_given(vars(options), ("duration",)))
    except SettingError as error:
        parser.error(str(error))
    value = found["duration"][0] if found else None
    assert value is None or isinstance(value, float)
    return value


def parse(argv: Sequence[str], prog: str) -> dict[str, object]:
    """Return the flags given in `argv`, unchecked; exits like the parser."""
    parser = build_parser(prog)
    namespace, unknown = parser.parse_known_args(list(argv))
    if unknown:
        parser.error(_unknown(unknown[0]))
    return vars(namespace)


def _unknown(word: str) -> str:
    if not word.startswith("-"):
        return f"unexpected argument {word!r}"
    flag = word.partition("=")[0]
    known = {name: option.flag for option in OPTIONS.values() for name in option.flags}
    known |= {action: action for action in ACTIONS}
    return f"unknown flag {flag}; the nearest one is {known[nearest(flag, known)]}"


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
