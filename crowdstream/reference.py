"""Generated pages of the documentation, derived from the declarations in the code.

`crowdstream reference docs/reference` writes all of them, and a test fails if one is stale. The
pages of the OSC reference are generated completely. In the others, which are Markdown, the parts
between two markers are generated:

    <!-- generated: NAME -->
    ...
    <!-- end of NAME -->
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream.cli import COMMANDS as SUBCOMMANDS
from crowdstream.cli import build_reference_parser
from crowdstream.client import AsyncClient
from crowdstream.client.command_table import COMMANDS
from crowdstream.commands.registry import TABLE
from crowdstream.control.osc_reference import osc_pages
from crowdstream.library import default_path
from crowdstream.library.stem_mp4 import default_cache
from crowdstream.settings.cli import ACTIONS, option_help
from crowdstream.settings.schema import GROUPS, NOT_IN_FILES, NOT_IN_PRESETS, OPTIONS, Option
from crowdstream.settings.types import Bool
from crowdstream.web.api.commands import PLACES
from crowdstream.web.api.metrics import CONTROL, DESK, LABELLED, LEDGER
from crowdstream.web.auth.middleware import REASONS

OSC_FOLDER = "osc"
_PART = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end of \1 -->", re.DOTALL)
PARSERS = {
    name: command.build_parser
    for name, command in SUBCOMMANDS.items()
    if name not in ("serve", "doctor", "compile", "reference")
}
"""The parsers of the commands whose options are listed on the page of the command line.

`serve` has a part of its own; the page describes the others in its text.
"""


class UnknownPart(ValueError):
    """A page has a marker for an unknown part."""


def cell(text: object) -> str:
    """Format a text as a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table, with a line break at its end."""
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


# Settings -----------------------------------------------------------------------------------


def _aliases(aliases: Sequence[str]) -> str:
    """Aliases beside a name; empty if there are none."""
    return f" (alias {', '.join(f'`{alias}`' for alias in aliases)})" if aliases else ""


def _key(option: Option) -> str:
    return f"`{option.name}`{_aliases(option.aliases)}"


def _flag(option: Option) -> str:
    aliases = _aliases(option.flags[1:])
    if isinstance(option.kind, Bool):
        return f"`{option.flag}`, `--no-{option.flag.removeprefix('--')}`{aliases}"
    words = (option.metavar,) if isinstance(option.metavar, str) else option.metavar or ()
    return f"`{' '.join([option.flag, *words])}`{aliases}"


def _allowed(option: Option) -> str:
    return option.kind.allowed


def _default(option: Option) -> str:
    if option.name == "buffer_size":
        return "the preset's"
    if option.default is None or option.default == ():
        return option.unset
    if isinstance(option.default, bool):
        return "yes" if option.default else "no"
    if isinstance(option.default, tuple):
        return " ".join(f"{value:g}" for value in option.default)
    return f"{option.default:g}" if isinstance(option.default, float) else str(option.default)


def _settings() -> str:
    parts = []
    for title, names in GROUPS.items():
        rows = [
            (_key(OPTIONS[name]), _flag(OPTIONS[name]), OPTIONS[name].help,
             _allowed(OPTIONS[name]), _default(OPTIONS[name]), "live" if OPTIONS[name].live else "")
            for name in names
        ]  # fmt: skip
        head = ("key", "flag", "meaning", "allowed", "default", "reload")
        parts.append(f"## {title}\n\n{table(head, rows)}")
    return "\n".join(parts)


def _places() -> str:
    rows: list[tuple[str, str]] = []
    for name, option in OPTIONS.items():
        barred = "files and presets" if name in NOT_IN_FILES else "presets"
        note = f"not in {barred}" if name in NOT_IN_FILES | NOT_IN_PRESETS else ""
        for variable in option.variables[len(option.names) :]:
            note = f"{note}; also `{variable}`".removeprefix("; ")
        if note:
            rows.append((f"`{name}`", note))
    return table(("key", "where"), rows)


# The command line ---------------------------------------------------------------------------


def _action_name(action: argparse.Action, aliases: Container[str] = ()) -> str:
    """An option as typed; `aliases` are the flags that the parser accepts but does not list."""
    words = [] if action.nargs == 0 else [_metavar(action)]
    if not action.option_strings:
        return f"`{words[0]}`" + (" ..." if action.nargs in ("*", "+") else "")
    setting = OPTIONS.get(action.dest)
    hidden = [flag for flag in setting.flags if flag in aliases] if setting else []
    shown = f"`{', '.join(action.option_strings)}{' ' if words else ''}{' '.join(words)}`"
    return shown + _aliases(hidden)


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar:
        return action.metavar
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()


def _action_help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    # Paths in this user's home folder are replaced by paths that are valid for every user.
    for place, written in (
        (default_path(), "~/.local/share/crowdstream/library.db"),
        (default_cache(), "~/.cache/crowdstream/stems"),
    ):
        text = text.replace(str(place), written)
    return text


def _commands() -> str:
    parts = []
    for name, build in PARSERS.items():
        parser = build()
        listed = [action for action in parser._actions if action.help != argparse.SUPPRESS]
        hidden = [action for action in parser._actions if action not in listed]
        aliases = {flag for action in hidden for flag in action.option_strings}
        rows = [
            (_action_name(action, aliases), _action_help(parser, action))
            for action in listed
            if action.dest != "help"
        ]
        about = " ".join((parser.description or "").split())
        parts.append(f"## crowdstream {name}\n\n{about}\n\n{table(('option', 'meaning'), rows)}")
    return "\n".join(parts)


def _serve() -> str:
    parts = []
    for title, names in GROUPS.items():
        rows = [(_flag(OPTIONS[name]), option_help(OPTIONS[name])) for name in names]
        parts.append(f"### {title}\n\n{table(('option', 'meaning'), rows)}")
    rows = [(f"`{flag}`", text) for flag, text in ACTIONS.items()]
    parts.append(f"### Print and stop\n\n{table(('option', 'meaning'), rows)}")
    return "\n".join(parts)


# Python, HTTP, metrics ----------------------------------------------------------------------


def _with_aliases(names: Sequence[str]) -> str:
    # A name, and its aliases in parentheses.
    name, *aliases = (f"`{one}`" for one in names)
    return f"{name} (alias: {', '.join(aliases)})" if aliases else name


def _python() -> str:
    rows = []
    for command in TABLE.commands:
        if "/stem/1" in command.address or not re.search(r"/stem/\d", command.address):
            arguments = ", ".join(arg.name for arg in command.args)
            methods = _with_aliases([f"osc_{name}" for name in command.names])
            addresses = _with_aliases([command.address, *command.aliases])
            rows.append((methods, addresses, arguments))
    return table(("method", "address", "arguments"), rows)


def _client() -> str:
    rows = []
    for command in COMMANDS:
        if hasattr(AsyncClient, command.name):
            words = [*command.places]
            for arg in command.args:
                star = "*" if arg.rest else ""
                optional = "" if arg.required or arg.rest else "="
                words.append(f"{star}{arg.name}{optional}")
            lost = "repeated" if command.repeatable else "sent once"
            when = "yes" if command.scheduled else ""
            call = f"`{command.name}({', '.join(words)})`"
            rows.append((call, f"`{command.address}`", when, lost))
    return table(("method", "address", "`at`, `at_beat`", "lost"), rows)


def _http() -> str:
    rows = []
    for command in TABLE.commands:
        if "/stem/1" in command.address or not re.search(r"/stem/\d", command.address):
            names = ", ".join(f"`{arg.name}`" for arg in command.args)
            request = _with_aliases(
                [f"POST /api{command.address}", *(f"/api{one}" for one in command.aliases)]
            )
            rows.append((request, names, command.help.partition(". ")[0]))
    return table(("request", "arguments", "effect"), rows)


def _places_of_paths() -> str:
    return table(
        ("in a path", "stands for"),
        [(f"`{{{name}}}`", ", ".join(values)) for name, values in PLACES.items()],
    )


def _refusals() -> str:
    rows = sorted((status, words) for status, words in REASONS.values())
    return table(("status", "reason"), rows)


def _metrics() -> str:
    parts = []
    for title, lines in (("Engine", (*LEDGER, *DESK)), ("Control", CONTROL)):
        rows = [
            (f"`{line.name}{'_total' if line.counter else ''}`",
             "counter" if line.counter else "gauge", line.help)
            for line in lines
        ]  # fmt: skip
        parts.append(f"## {title}\n\n{table(('name', 'kind', 'meaning'), rows)}")
    rows = []
    for one in LABELLED:
        name = one.name + ("_total" if one.kind == "counter" else "")
        labels = "{" + ",".join(one.labels) + "}" if one.labels else ""
        rows.append((f"`{name}{labels}`", one.kind, one.help))
    parts.append(f"## With labels, and of the web\n\n{table(('name', 'kind', 'meaning'), rows)}")
    return "\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {
    "settings": _settings, "places": _places, "commands": _commands, "serve": _serve,
    "python": _python, "client": _client, "http": _http, "paths": _places_of_paths,
    "refusals": _refusals, "metrics": _metrics,
}  # fmt: skip
"""The function that generates each part, by the part's name."""


def filled(text: str) -> str:
    """Return a page with newly generated parts. Raises `UnknownPart`."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        if name not in PARTS:
            raise UnknownPart(f"no part is called {name!r}: {', '.join(PARTS)}")
        return f"<!-- generated: {name} -->\n{PARTS[name]()}<!-- end of {name} -->"

    return _PART.sub(part, text)


def pages(folder: Path) -> dict[Path, str]:
    """Return the contents of every generated page below the reference folder."""
    made = {folder / OSC_FOLDER / name: text for name, text in osc_pages().items()}
    for path in sorted(folder.rglob("*.md")):
        if path not in made and "<!-- generated: " in (text := path.read_text(encoding="utf-8")):
            made[path] = filled(text)
    return made


def write(folder: Path) -> list[Path]:
    """Write the generated pages and return those that have changed."""
    changed = []
    for path, text in pages(folder).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def main(arguments: Sequence[str]) -> int:
    """Run `crowdstream reference` and return its exit status: 2 if the folder is missing."""
    name: str | None = build_reference_parser().parse_args(arguments).folder
    if name is None:
        print("\n".join(osc_pages().values()), end="")
        return 0
    folder = Path(name)
    if not folder.is_dir():
        print(f"crowdstream: {folder} is not a folder: name docs/reference", file=sys.stderr)
        return 2
    for path in write(folder):
        print(f"written: {path}")
    return 0
