"""Read TOML with errors that name the line, write values, and change one key of a file while
every other line stays unchanged."""

import json
import re
import tomllib
from pathlib import Path

from crowdstream.settings.errors import SettingError
from crowdstream.system.text import MAX_SETTINGS_BYTES, TomlError, parse_toml


def parse(data: bytes, path: Path, max_bytes: int = MAX_SETTINGS_BYTES) -> dict[str, object]:
    """Return the keys and values of a TOML file's bytes; `path` is for messages only.

    Raises `SettingError`, naming the line, if the file is too long, not UTF-8 or not TOML.
    """
    if len(data) > max_bytes:
        raise SettingError(f"config: {path}: it has more than {max_bytes} bytes")
    try:
        text = decode(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingError(f"config: {path} line {line}: this is not UTF-8 text") from None
    try:
        return parse_toml(text)
    except TomlError as error:
        place = f"{path} line {error.line}" if error.line else str(path)
        raise SettingError(f"config: {place}: {error.reason}") from None


def decode(data: bytes) -> str:
    """Decode TOML text, removing the byte order mark that some editors write."""
    return data.decode("utf-8-sig")


def write_value(value: object) -> str:
    """Format a setting's value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    # JSON strings are valid in TOML, except that TOML requires DEL to be escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def set_key(text: str, key: str, value: object) -> str:
    """Return `text`, valid TOML, with the top-level `key` set to `value` and nothing else changed.

    Every edit is verified by parsing: it is accepted only if the new text has the same values as
    the old one except for this key. Strings and arrays over several lines, and lines in a string
    that look like the key, therefore need no special cases. Raises ValueError where no edit is
    possible (a key written as `port.x = 1`).
    """
    wanted = {**tomllib.loads(text), key: tomllib.loads(f"x = {write_value(value)}")["x"]}
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if "\r\n" in text else "\n"
    is_key = re.compile(rf"""[ \t]*(?:{key}|"{key}"|'{key}')[ \t]*=""")
    for first, line in enumerate(lines):
        if not is_key.match(line):
            continue
        for last in range(first, len(lines)):
            old = "".join(lines[first : last + 1])
            entry = f"{key} = {write_value(value)}{_comment_after(old)}{newline}"
            edited = "".join([*lines[:first], entry, *lines[last + 1 :]])
            if _reads_as(edited, wanted):
                return edited
    entry = f"{key} = {write_value(value)}{newline}"
    end = newline if text and not text.endswith("\n") else ""
    # At the end of the file the key could become part of a table; at the beginning it can't.
    for edited in (text + end + entry, entry + text):
        if _reads_as(edited, wanted):
            return edited
    raise ValueError(f"{key} can't be set without changing the rest of the file")


def _reads_as(text: str, wanted: dict[str, object]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except (ValueError, RecursionError):
        return False


def _comment_after(entry: str) -> str:
    """The comment at the end of a `key = value` entry, with the blanks before it."""
    entry = entry.rstrip("\r\n")
    for found in re.finditer(r"[ \t]*#", entry):
        # A # inside a string leaves an unclosed string before it, which does not parse.
        try:
            tomllib.loads(entry[: found.start()])
        except ValueError:
            continue
        comment = entry[found.start() :]
        return comment if "\n" not in comment else ""
    return ""
