"""Value types of settings, and how their values are read.

A value type reads three forms of a value: words from the command line, one text from the
environment, and a typed value from TOML or Python. All result in the same type and raise
`Refused` for anything else. The caller, which knows the setting's name and the value's origin,
creates the message.
"""

import argparse
import ipaddress
import numbers
import operator
import os
import re
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crowdstream.settings.light_target import MAX_TARGETS, parse_target

# Python's own int() and float() also accept "1_000", "nan", "infinity" and digits of other
# scripts, which nobody intends when typing a setting.
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

READY_MAPS = Path(__file__).parents[1] / "midi" / "maps"

BOOL_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Refused(ValueError):
    """Not a value of this type."""


def format_limit(number: float) -> str:
    """Format a limit as people write it: 400, not 400.0; 0.5; 1000000000, not 1e+09."""
    return str(int(number)) if float(number).is_integer() else str(number)


def ready_maps() -> list[str]:
    """Names of the MIDI mappings that come with the program."""
    return sorted(path.stem for path in READY_MAPS.glob("*.toml"))


class ValueType(ABC):
    """Defines and reads the values that a setting allows."""

    # Whether a wrong value may contain a secret, so that no error message shows it.
    secret = False

    # Extra arguments of `add_argument`; checking is always left to the value type.
    flag: Mapping[str, Any] = MappingProxyType({})

    @property
    @abstractmethod
    def allowed(self) -> str:
        """Description of allowed values that completes "is not": "a whole number from 0 to 9"."""

    @abstractmethod
    def read(self, value: object) -> object:
        """Read a typed value from TOML or Python."""

    def read_text(self, text: str) -> object:
        """Read text from the environment or one word of the command line."""
        return self.read(text)

    def read_flag(self, raw: Any) -> object:
        """Read the result of argparse for the flag: a string, unless `flag` differs."""
        return self.read_text(raw)

    def in_folder(self, value: object, folder: Path) -> object:
        """Resolve relative paths in a value that was read from a file in `folder`."""
        if isinstance(value, tuple):
            return tuple(self.in_folder(item, folder) for item in value)
        return folder / value if isinstance(value, Path) else value


@dataclass(frozen=True)
class Int(ValueType):
    """A whole number `low <= n <= high`; read as int."""

    low: int
    high: int
    unit: str = ""

    @property
    def allowed(self) -> str:
        of = f" of {self.unit}" if self.unit else ""
        return f"a whole number{of} from {self.low} to {self.high}"

    def read(self, value: object) -> int:
        if isinstance(value, bool):
            raise Refused
        try:
            number = operator.index(value)  # type: ignore[arg-type]  # TypeError is the check
        except TypeError:
            raise Refused from None
        if not self.low <= number <= self.high:
            raise Refused
        return number

    def read_text(self, text: str) -> int:
        if not WHOLE.fullmatch(text.strip()):
            raise Refused
        return self.read(int(text.strip()))


@dataclass(frozen=True)
class Float(ValueType):
    """A finite number `low <= x <= high` (`low < x` if `open_low`); read as float."""

    low: float
    high: float
    unit: str = ""
    open_low: bool = False

    @property
    def allowed(self) -> str:
        of = f" of {self.unit}" if self.unit else ""
        start = (
            f"above {format_limit(self.low)}, up"
            if self.open_low
            else f"from {format_limit(self.low)}"
        )
        return f"a number{of} {start} to {format_limit(self.high)}"

    def read(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise Refused
        try:
            number = float(value)
        except OverflowError:
            raise Refused from None
        # Also refuses NaN, for which every comparison is false.
        if not self.low <= number <= self.high:
            raise Refused
        if self.open_low and number == self.low:
            raise Refused
        return number

    def read_text(self, text: str) -> float:
        if not DECIMAL.fullmatch(text.strip()):
            raise Refused
        return self.read(float(text.strip()))


@dataclass(frozen=True)
class Floats(ValueType):
    """Exactly `count` numbers of one type; read as a tuple of float."""

    each: Float
    count: int

    @property
    def flag(self) -> Mapping[str, Any]:  # type: ignore[override]  # depends on `count`
        return {"nargs": self.count}

    @property
    def allowed(self) -> str:
        low, high = format_limit(self.each.low), format_limit(self.each.high)
        return f"{self.count} numbers from {low} to {high}"

    def read(self, value: object) -> tuple[float, ...]:
        if not isinstance(value, list | tuple) or len(value) != self.count:
            raise Refused
        return tuple(self.each.read(item) for item in value)

    def read_text(self, text: str) -> tuple[float, ...]:
        return self.read_flag(text.replace(",", " ").split())

    def read_flag(self, raw: list[str]) -> tuple[float, ...]:
        if len(raw) != self.count:
            raise Refused
        return tuple(self.each.read_text(word) for word in raw)


@dataclass(frozen=True)
class Bool(ValueType):
    """On or off; read as bool. On the command line `--name` and `--no-name`."""

    flag = MappingProxyType({"action": argparse.BooleanOptionalAction})

    @property
    def allowed(self) -> str:
        return "true or false"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise Refused
        return value

    def read_text(self, text: str) -> bool:
        try:
            return BOOL_WORDS[text.strip().lower()]
        except KeyError:
            raise Refused from None

    def read_flag(self, raw: bool) -> bool:
        return self.read(raw)


@dataclass(frozen=True)
class Choice(ValueType):
    """One of several words, case-insensitive; read as the lower-case word."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.words)}"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or (word := value.strip().lower()) not in self.words:
            raise Refused
        return word


@dataclass(frozen=True)
class Text(ValueType):
    """Printable, non-empty text; read as str. `numbers_too`: also accept a number >= 0.

    `like`: a regular expression that the whole text must match.
    """

    what: str
    spaces: bool = True
    numbers_too: bool = False
    like: str = ".*"

    @property
    def allowed(self) -> str:
        return self.what

    def read(self, value: object) -> str:
        if self.numbers_too and isinstance(value, int) and not isinstance(value, bool):
            return str(Int(0, 9999).read(value))
        if not isinstance(value, str):
            raise Refused
        text = value.strip()
        if not text or not text.isprintable() or (not self.spaces and " " in text):
            raise Refused
        if not re.fullmatch(self.like, text):
            raise Refused
        return text


@dataclass(frozen=True)
class File(ValueType):
    """A path, which need not exist; read as Path. `word`: a value that is not meant as a path."""

    what: str = "the path of a file or folder"
    word: str | None = None

    @property
    def allowed(self) -> str:
        return self.what

    def read(self, value: object) -> Path:
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str) or not value or "\0" in value:
            raise Refused
        path = Path(value)
        if path.parts[:1] != ("~",):  # the caller knows the user's own home folder
            try:
                path = path.expanduser()
            except RuntimeError:  # ~name of an unknown user
                raise Refused from None
        return path

    def in_folder(self, value: object, folder: Path) -> object:
        return value if str(value) == self.word else super().in_folder(value, folder)


@dataclass(frozen=True)
class Folders(ValueType):
    """Any number of paths; read as a tuple of Path. In the environment separated as in PATH."""

    flag = MappingProxyType({"action": "append"})

    @property
    def allowed(self) -> str:
        return "the path of a folder, or several"

    def read(self, value: object) -> tuple[Path, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(File().read(item) for item in items)

    def read_text(self, text: str) -> tuple[Path, ...]:
        paths = tuple(File().read(part) for part in text.split(os.pathsep) if part)
        if not paths:
            raise Refused
        return paths

    def read_flag(self, raw: list[str]) -> tuple[Path, ...]:
        return self.read(raw)


@dataclass(frozen=True)
class Devices(ValueType):
    """Up to `most` devices, each a number or a part of a name; read as a tuple of str.

    In the environment separated by semicolons, because names contain commas and spaces.
    """

    most: int

    flag = MappingProxyType({"action": "append"})

    @property
    def allowed(self) -> str:
        return f"a device's number or a part of its name, up to {self.most} of them"

    def read(self, value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        if len(items) > self.most:
            raise Refused
        return tuple(Text("", numbers_too=True).read(item) for item in items)

    def read_text(self, text: str) -> tuple[str, ...]:
        found = self.read([part for part in text.split(";") if part.strip()])
        if not found:
            raise Refused
        return found

    def read_flag(self, raw: list[str]) -> tuple[str, ...]:
        return self.read(raw)


@dataclass(frozen=True)
class MidiMaps(Devices):
    """Up to `most` MIDI mappings, each a name or a path; read and separated as `Devices`."""

    @property
    def allowed(self) -> str:
        return f"the name of a ready mapping or the path of a file, up to {self.most} of them"

    def in_folder(self, value: object, folder: Path) -> object:
        if not isinstance(value, str) or value in ready_maps() or value.startswith("~"):
            return super().in_folder(value, folder)
        return str(folder / value)


class _Words(ValueType):
    # Any number of words: in text, separated by commas or spaces; after a flag, as arguments.

    flag = MappingProxyType({"action": "extend", "nargs": "+"})

    def read(self, value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        found: list[str] = []
        for item in items:
            if not isinstance(item, str):
                raise Refused
            found += self.read_text(item)
        return tuple(found)

    def read_flag(self, raw: list[str]) -> tuple[str, ...]:
        return self.read(raw)

    @abstractmethod
    def read_text(self, text: str) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Networks(_Words):
    """Any number of addresses and networks; read as a tuple of str such as `192.168.1.0/24`.

    A single address is a network of one. In text they are separated by commas or spaces.
    """

    @property
    def allowed(self) -> str:
        return "an IP address or network such as 192.168.1.0/24, or several"

    def read_text(self, text: str) -> tuple[str, ...]:
        words = text.replace(",", " ").split()
        try:
            # 192.168.1.5/24 is how `ip addr` writes an address: its network is meant.
            found = tuple(str(ipaddress.ip_network(word, strict=False)) for word in words)
        except ValueError:
            raise Refused from None
        if not found:
            raise Refused
        return found


@dataclass(frozen=True)
class Choices(_Words):
    """Any number of the given words; read as a tuple of str without repetitions."""

    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"any of {', '.join(self.choices)}"

    def read(self, value: object) -> tuple[str, ...]:
        return tuple(dict.fromkeys(super().read(value)))

    def read_text(self, text: str) -> tuple[str, ...]:
        words = tuple(text.replace(",", " ").split())
        if not words or not set(words) <= set(self.choices):
            raise Refused
        return words


@dataclass(frozen=True)
class Names(_Words):
    """Any number of host names; read as a tuple of str. In text separated by commas or spaces."""

    @property
    def allowed(self) -> str:
        return "a host name, or several"

    def read_text(self, text: str) -> tuple[str, ...]:
        words = text.replace(",", " ").split()
        if not words or not all(_HOST_NAME.fullmatch(word) for word in words):
            raise Refused
        return tuple(word.lower() for word in words)


@dataclass(frozen=True)
class Urls(_Words):
    """Any number of http and https URLs; read as a tuple of str. In text separated by spaces.

    They may contain a user and a password, so error messages do not show them.
    """

    secret = True

    @property
    def allowed(self) -> str:
        return "a URL that begins with http:// or https://, or several"

    def read_text(self, text: str) -> tuple[str, ...]:
        words = text.split()
        if not words or not all(map(_is_url, words)):
            raise Refused
        return tuple(words)


@dataclass(frozen=True)
class BroadcastUrls(ValueType):
    """Any number of targets of broadcasts; read as a tuple of str. In text separated by spaces.

    Other users of the machine see the command line, so a URL with a password is refused there.
    """

    secret = True
    flag = MappingProxyType({"action": "append"})

    @property
    def allowed(self) -> str:
        return (
            "a URL that begins with icecast://, icecast+tls://, hls:/, snapcast:// or pipe:/, or"
            " several; one with a password belongs in a settings file or the environment, because"
            " every user sees the command line"
        )

    def read(self, value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        found: list[str] = []
        for item in items:
            if not isinstance(item, str):
                raise Refused
            found += self.read_text(item)
        return tuple(found)

    def read_text(self, text: str) -> tuple[str, ...]:
        words = text.split()
        if not words or not all(map(_is_broadcast, words)):
            raise Refused
        return tuple(words)

    def read_flag(self, raw: list[str]) -> tuple[str, ...]:
        if any("@" in word for word in raw):
            raise Refused
        return self.read(raw)


def _is_broadcast(word: str) -> bool:
    return word.isprintable() and word.startswith(
        ("icecast://", "icecast+tls://", "hls:/", "snapcast://", "pipe:/")
    )


@dataclass(frozen=True)
class LightTargets(_Words):
    """Up to `MAX_TARGETS` targets for lights; read as a tuple of str. In text separated by spaces.

    See `light_target`.
    """

    @property
    def allowed(self) -> str:
        return (
            "a target such as os2l, sacn://multicast/1 or artnet://192.168.1.22/0, or up to "
            f"{MAX_TARGETS} of them"
        )

    def read(self, value: object) -> tuple[str, ...]:
        found = super().read(value)
        if len(found) > MAX_TARGETS:
            raise Refused
        return found

    def read_text(self, text: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(text.split()))
        if not words:
            raise Refused
        for word in words:
            try:
                parse_target(word)
            except ValueError:
                raise Refused from None
        return words


def _is_url(word: str) -> bool:
    if not word.isascii() or not word.isprintable():
        return False
    try:
        parts = urllib.parse.urlsplit(word)
        port = parts.port
    except ValueError:  # brackets without an IPv6 address, or a port that is no number
        return False
    host = parts.hostname or ""
    known = bool(_HOST_NAME.fullmatch(host)) or ":" in host
    return parts.scheme in ("http", "https") and known and port != 0 and not parts.fragment
