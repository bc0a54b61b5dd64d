"""`crowdstream mcp`: its options. The protocol is imported when it is served."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from crowdstream.client.endpoint import DEFAULT_PORT
from crowdstream.settings.errors import Parser
from crowdstream.system.text import install_command

_DESCRIPTION = (
    "Offer the commands of a running server as tools of the Model Context Protocol, on standard "
    "input and output. Queries are open; commands that change something need consent."
)
MISSING = f"the package mcp is not installed: {install_command('mcp>=2.3')}"


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise ValueError
    return value


_port.__name__ = "port: 1 to 65535"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of this subcommand."""
    parser = Parser(prog="crowdstream mcp", description=_DESCRIPTION)
    parser.add_argument(
        "--host", default="127.0.0.1", help="host of the server (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT,
        help=f"its OSC port (default: {DEFAULT_PORT})",
    )  # fmt: skip
    parser.add_argument(
        "--allow-write", nargs="*", metavar="PATTERN", default=None,
        help="allow commands that change something: all, or those whose addresses match a pattern "
        "such as '/deck/*/level'; without it, the user is asked if the client can do that",
    )  # fmt: skip
    return parser


def run_mcp(argv: Sequence[str]) -> int:
    """Run the subcommand; return its exit status: 1 if it cannot serve, 2 for wrong usage."""
    options = build_parser().parse_args(list(argv))
    patterns: list[str] | None = options.allow_write
    try:
        from crowdstream.mcp.server import serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("mcp", "mcp_types"):
            return _fail(MISSING)
        raise
    # Standard output belongs to the protocol.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("crowdstream.mcp").setLevel(logging.INFO)
    allowed = ("*",) if patterns == [] else tuple(patterns or ())
    try:
        asyncio.run(serve(options.host, options.port, allowed))
    except OSError as error:
        return _fail(f"can't find {options.host}: {error.strerror or error}")
    except KeyboardInterrupt:
        pass
    return 0


def _fail(reason: str) -> int:
    print(f"crowdstream: {reason}", file=sys.stderr)
    return 1
