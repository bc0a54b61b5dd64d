"""`crowdstream fleet`: its options. What an operation needs is imported when it is carried out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crowdstream.fleet.members import (
    ALL,
    CONTENTS,
    FleetError,
    Member,
    check_members,
    parse_place,
    read_members,
    select,
)
from crowdstream.settings.errors import Parser, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from crowdstream.fleet.commands import Outcome
    from crowdstream.fleet.fleet import Fleet
    from crowdstream.fleet.watched import Watched

RATE = 2.0  # frames per second of the view
SEARCH_SECONDS = 3.0  # before an operation, for servers to answer the search
FAILED, WRONG_USAGE = 1, 2
LOOPBACK = "127.0.0.1"

_DESCRIPTION = (
    "Show the health and tracks of several servers, and send commands, files and upgrades to them."
)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 86400.0:
        raise ValueError
    return value


_port.__name__, _seconds.__name__ = "port: 0 to 65535", "seconds: 0 to 86400"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of this subcommand."""
    parser = Parser(
        prog="crowdstream fleet", description=_DESCRIPTION, epilog="See docs/how-to/run-a-fleet.md."
    )
    add = parser.add_argument
    add("target", nargs="*", metavar="TARGET",
        help=f"servers and groups that the operation concerns (default: {ALL})")  # fmt: skip
    add("--config", type=Path, metavar="FILE", help="the fleet's file")
    add("--server", action="append", default=[], metavar="[NAME=]HOST[:PORT]",
        help="a server; may be repeated")  # fmt: skip
    add("--discover", action="store_true",
        help="search the local network for servers (needs the package zeroconf)")  # fmt: skip
    add("--once", action="store_true",
        help="print the view once and exit; status 1 if a server does not answer")  # fmt: skip
    add("--http", type=_port, metavar="PORT",
        help="serve the view as a page at this port, 0 for any, and no terminal")  # fmt: skip
    add("--http-host", default=LOOPBACK, metavar="HOST",
        help=f"address to listen on (default: {LOOPBACK})")  # fmt: skip
    add("--send", nargs="+", metavar=("ADDRESS", "ARGUMENT"), help="send a command")
    add("--in", dest="lead", type=_seconds, metavar="SECONDS",
        help="with --send: act at the same moment everywhere, so far ahead (0.5 to 3600)")
    add("--max-error-ms", type=float, metavar="MS", default=10.0,
        help="refuse a common start if a clock is known less exactly (default: 10)")  # fmt: skip
    add("--push", nargs=2, metavar=("CONTENT", "PATH"),
        help=f"distribute a file or folder: {', '.join(CONTENTS)}")  # fmt: skip
    add("--upgrade", metavar="PATH", help="upgrade to the installation or wheel PATH, in stages")
    add("--stages", default="1,25%,100%", metavar="LIST",
        help="servers that are upgraded after each stage (default: 1,25%%,100%%)")  # fmt: skip
    add("--observe", type=_seconds, default=60.0, metavar="SECONDS",
        help="how long health is observed after each stage (default: 60)")  # fmt: skip
    return parser


def run_fleet(argv: Sequence[str]) -> int:
    """Run the subcommand; return its exit status: 1 if a server failed, 2 for wrong usage."""
    parser = build_parser()
    options = parser.parse_args(list(argv))
    operations = [options.once, options.http is not None, options.send, options.push,
                  options.upgrade]  # fmt: skip
    if sum(map(bool, operations)) > 1:
        parser.error("--once, --http, --send, --push and --upgrade exclude each other")
    if options.lead is not None and not options.send:
        parser.error("--in needs --send")
    if not 0.0 < options.max_error_ms <= 10000.0:
        parser.error(f"--max-error-ms: must be above 0 and up to 10000, not {options.max_error_ms}")
    try:
        members, search = _members(options)
        if not members and not search:
            parser.error("no servers: name them with --server or --config, or use --discover")
        if not search:
            select(members, options.target)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a name may contain unsupported characters
        return asyncio.run(_run(options, members, search))
    except FleetError as error:
        print(f"crowdstream fleet: {one_line(str(error))}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        return 0


def _members(options: argparse.Namespace) -> tuple[list[Member], bool]:
    members: list[Member] = []
    search = bool(options.discover)
    if options.config is not None:
        members, configured = read_members(options.config)
        search = search or configured
    members += map(parse_place, options.server)
    check_members(members)
    return members, search


async def _run(options: argparse.Namespace, members: list[Member], search: bool) -> int:
    from rich.console import Console

    from crowdstream.fleet.fleet import Fleet

    console = Console(highlight=False, markup=False, emoji=False)
    shows = not (options.once or options.send or options.push or options.upgrade)
    if shows and options.http is None and (not console.is_terminal or console.is_dumb_terminal):
        raise FleetError("the output is not a terminal that can position text; use --once")
    async with Fleet(members) as fleet, contextlib.AsyncExitStack() as stack:
        if search:
            from crowdstream.fleet.discovery import discover

            found = await discover(fleet.add)
            stack.push_async_callback(found.close)
            if not shows:
                await asyncio.sleep(SEARCH_SECONDS)
        if options.http is not None:
            from crowdstream.fleet.page import serve

            return await serve(fleet, options.http_host, options.http)
        if shows:
            from crowdstream.fleet.view import watch

            await watch(fleet, console, RATE)
            return 0
        await fleet.contact()
        chosen = fleet.select(options.target)
        if options.once:
            return _once(fleet, chosen, console)
        return await _operate(options, chosen, console)


def _once(fleet: Fleet, chosen: Sequence[Watched], console: Console) -> int:
    from crowdstream.fleet.view import draw_fleet, glyphs_of

    height = 2 * len(fleet.servers) + len(fleet.log) + 2
    for text in draw_fleet(fleet, console.width, height, glyphs_of(console)):
        console.print(text, no_wrap=True, crop=True, overflow="crop", end="\n")
    return 0 if all(one.answers for one in chosen) else FAILED


async def _operate(
    options: argparse.Namespace, chosen: Sequence[Watched], console: Console
) -> int:
    from crowdstream.fleet.view import glyphs_of, outcome_line

    def show(outcome: Outcome) -> None:
        console.print(outcome_line(outcome, glyphs_of(console)), soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    if options.push:
        from crowdstream.fleet.distribute import distribute

        content, source = options.push
        outcomes = await distribute(chosen, content, Path(source), show)
    elif options.upgrade:
        from crowdstream.fleet.staged_upgrade import check_upgrade, parse_stages, upgrade

        check_upgrade(chosen, options.upgrade)
        stages = parse_stages(options.stages, len(chosen))
        outcomes = await upgrade(chosen, options.upgrade, stages, options.observe, say)
        for outcome in outcomes:
            show(outcome)
    else:
        from crowdstream.fleet.commands import send_now, send_together, typed

        address, *words = options.send
        arguments = typed(address, words)
        if options.lead is None:
            outcomes = await send_now(chosen, address, arguments)
        else:
            outcomes = await send_together(
                chosen, address, arguments, options.lead, options.max_error_ms
            )
        for outcome in outcomes:
            show(outcome)
    return 0 if all(outcome.ok for outcome in outcomes) else FAILED
