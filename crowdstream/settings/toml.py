"""TOML as text: reading it with errors that name the line, writing values, and changing one
key of a file while every other line stays as its owner wrote it."""

import json
import re
import tomllib
from pathlib import Path

from crowdstream.settings.errors import SettingError
from crowdstream.system.toml_text import MAX_SETTINGS_BYTES, TomlError, parse_toml


def parse(data: bytes, path: Path, max_bytes: int = MAX_SETTINGS_BYTES) -> dict[str, object]:
    """The keys and values of a TOML file's bytes; `path` is for messages only.

    Raises SettingError, naming the line, for what is too long, not UTF-8 or not TOML.
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
    """TOML text without the byte order mark that some editors put before it."""
    return data.decode("utf-8-sig")


def write_value(value: object) -> str:
    """A setting's value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    # JSON's strings are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def set_key(text: str, key: str, value: object) -> str:
    """`text`, valid TOML, with the top-level `key` set to `value`, and no other line changed.

    Whether an edit is right is not guessed but read back: it counts only when the new text
    parses to what the old one did, save for this key. So a string or array over several
    lines, or a line in a string that looks like the key, needs no case of its own.
    Raises ValueError where no edit does that (a key written as `port.x = 1`).
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
    # At the end the key could fall into a table; before the first line it never does.
    for edited in (text + end + entry, entry + text):
        if _reads_as(edited, wanted):
            return edited
    raise ValueError(f"there is no way to set {key} that leaves the rest of the file alone")


def _reads_as(text: str, wanted: dict[str, object]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except (ValueError, RecursionError):
        return False


def _comment_after(entry: str) -> str:
    """The comment that ends a `key = value` entry, with the blanks before it."""
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
