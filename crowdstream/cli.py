"""The command line: a table of subcommands, each imported only when it is used."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import crowdstream
from crowdstream.system.process import exit_quietly_on_broken_pipe, set_missing_home

if TYPE_CHECKING:
    import argparse

WRONG_USAGE = 2


@dataclass(frozen=True)
class Command:
    """A subcommand.

    `runner` and `builder` name its function and that of its argument parser, as MODULE:FUNCTION.
    `summary` is its line in `crowdstream --help`.
    """

    summary: str
    runner: str
    builder: str

    def run(self, arguments: list[str]) -> int:
        """Run the command with the arguments after its name; returns the exit status.

        For wrong arguments, it prints its usage and returns, or exits with, 2.
        """
        run: Callable[[list[str]], int] = pkgutil.resolve_name(self.runner)
        return run(arguments)

    def build_parser(self) -> argparse.ArgumentParser:
        """Return the parser of its arguments."""
        build: Callable[[], argparse.ArgumentParser] = pkgutil.resolve_name(self.builder)
        return build()


COMMANDS = {
    "demo": Command(
        "mix four generated tracks, with a server of its own",
        "crowdstream.demo.runner:main", "crowdstream.demo.runner:build_parser",
    ),
    "serve": Command(
        "run the server",
        "crowdstream.cli:serve", "crowdstream.settings.cli:build_parser",
    ),
    "render": Command(
        "render a set to a sound file, faster than real time",
        "crowdstream.offline.cli:render", "crowdstream.offline.cli:build_parser",
    ),
    "analyze": Command(
        "find tracks and analyze them",
        "crowdstream.library.cli:analyze", "crowdstream.library.cli:build_parser",
    ),
    "plan": Command(
        "plan a set of analysed tracks",
        "crowdstream.dj.cli:run_plan", "crowdstream.dj.cli:build_parser",
    ),
    "dj": Command(
        "play a set or a folder on a running server",
        "crowdstream.dj.autopilot.cli:run_dj", "crowdstream.dj.autopilot.cli:build_parser",
    ),
    "simulate-crowd": Command(
        "send the movement of a simulated crowd, for testing",
        "crowdstream.dj.autopilot.simulate_crowd:run_simulation",
        "crowdstream.dj.autopilot.simulate_crowd:build_parser",
    ),
    "top": Command(
        "show decks, meters and health of a running server",
        "crowdstream.top.cli:top", "crowdstream.top.cli:build_parser",
    ),
    "fleet": Command(
        "show several servers, and send commands, files and upgrades to them",
        "crowdstream.fleet.cli:run_fleet", "crowdstream.fleet.cli:build_parser",
    ),
    "mcp": Command(
        "offer a running server's commands as tools of the Model Context Protocol",
        "crowdstream.mcp.cli:run_mcp", "crowdstream.mcp.cli:build_parser",
    ),
    "doctor": Command(
        "check this machine and recommend changes",
        "crowdstream.doctor.cli:doctor", "crowdstream.doctor.cli:build_parser",
    ),
    "upgrade": Command(
        "hand a running server over to another version while it plays",
        "crowdstream.upgrade.cli:upgrade", "crowdstream.upgrade.cli:build_parser",
    ),
    "backup": Command(
        "save library, settings, schedule and sets in one file",
        "crowdstream.backup:backup", "crowdstream.backup:build_backup_parser",
    ),
    "restore": Command(
        "restore what backup has saved",
        "crowdstream.backup:restore", "crowdstream.backup:build_restore_parser",
    ),
    "compile": Command(
        "compile the kernels, so that the first start is as fast as later ones",
        "crowdstream.cli:compile_kernels", "crowdstream.cli:build_compile_parser",
    ),
    "reference": Command(
        "write the generated pages of the documentation, or print the OSC reference",
        "crowdstream.reference:main", "crowdstream.cli:build_reference_parser",
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run `crowdstream COMMAND ...`; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    set_missing_home()
    if {"_ARGCOMPLETE", "COMP_LINE"} <= os.environ.keys():  # the shell's completion
        complete(os.environ["COMP_LINE"])
    return exit_quietly_on_broken_pipe(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    # Without argparse: `serve` stays in memory as the supervisor, which imports very little.
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]].run(arguments[1:])
    parser = build_parser()
    if not arguments:
        print(parser.format_help(), end="", file=sys.stderr)
        return WRONG_USAGE
    try:
        if not arguments[0].startswith("-"):
            parser.error(_unknown_command(arguments[0]))
        parser.parse_args(arguments)  # exits for --help and --version
        parser.error("the command must come first")
    except SystemExit as ended:
        return int(ended.code or 0)


def _unknown_command(word: str) -> str:
    from difflib import get_close_matches

    message = f"there is no command {word!r}"
    close = get_close_matches(word.lower(), COMMANDS, n=1)
    return f"{message}; did you mean {close[0]}?" if close else message


def build_parser(complete_for: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of `crowdstream` itself.

    Its subparsers have options only for the commands in `complete_for`, whose modules are imported.
    """
    import argparse

    class MainParser(argparse.ArgumentParser):
        """argparse with the list of commands in its errors."""

        def error(self, message: str) -> NoReturn:
            from crowdstream.settings.errors import one_line

            self.exit(WRONG_USAGE, f"crowdstream: {one_line(message)}\n{self.format_help()}")

    parser = MainParser(
        prog="crowdstream",
        description="The stem-mixing audio server of an automated DJ, and its tools.",
        epilog="crowdstream COMMAND --help lists the options of a command.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"crowdstream {crowdstream.__version__}",
        help="print the version",
    )  # fmt: skip
    adder = parser.add_subparsers(
        title="commands", metavar="COMMAND", parser_class=argparse.ArgumentParser
    )
    for name, command in COMMANDS.items():
        own = [command.build_parser()] if name in complete_for else []
        adder.add_parser(name, help=command.summary, parents=own, add_help=False)
    return parser


def complete(line: str) -> None:
    """Write the completions of a command line for the shell, and exit.

    Returns if argcomplete is not installed.
    """
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(build_parser([word for word in line.split() if word in COMMANDS]))


def serve(arguments: list[str]) -> int:
    """Run the server under supervision; returns its exit status."""
    from crowdstream.supervisor.main import supervise

    return supervise(arguments, "crowdstream serve")


def build_compile_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream compile`."""
    from crowdstream.settings.errors import Parser

    return Parser(
        prog="crowdstream compile",
        description="Compile every kernel into the cache, and delete kernels of old versions.",
    )


def compile_kernels(arguments: Sequence[str]) -> int:
    """Compile every kernel into the cache, and delete kernels of old versions."""
    build_compile_parser().parse_args(arguments)
    begin = time.monotonic()
    from crowdstream.engine.jit import kernel_cache
    from crowdstream.engine.jit.part_store import PartStore
    from crowdstream.engine.jit.stale_caches import prune
    from crowdstream.engine.precompiled import compile_here

    # Before compiling: where access times are not recorded, files in use look old, too.
    deleted = prune([kernel_cache.folder()])
    with contextlib.suppress(OSError):
        PartStore(kernel_cache.parts_folder()).prune()
    with kernel_cache.report_progress(partial(print, flush=True)):
        compile_here()
    print(f"kernels ready after {time.monotonic() - begin:.1f} s")
    if deleted:
        print(f"deleted the kernels of {deleted} older versions, unused for a month")
    return 0


def build_reference_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream reference`."""
    from crowdstream.settings.errors import Parser

    parser = Parser(
        prog="crowdstream reference",
        description="Write the generated pages of the documentation, or print the OSC reference.",
    )
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER",
        help="docs/reference; without it, print the OSC reference",
    )  # fmt: skip
    return parser
