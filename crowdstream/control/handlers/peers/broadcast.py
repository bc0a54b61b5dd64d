"""Broadcasts: Icecast, HLS and Snapcast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crowdstream.broadcast.target import BITRATES, HLS, PIPE, TargetError, parse
from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.handlers.record import real_place, roots
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.peers.broadcasts import MAX_BROADCASTS


@TABLE.add(
    "/broadcast/start",
    Arg("url", "s", "`icecast://user:password@host:port/mount` (`icecast+tls://`: encrypted), "
        "`hls:/folder`, "
        "`snapcast://host:port` or `pipe:/path`"),
    Arg("format", "s", f"{', '.join(BITRATES)}; empty: as the URL says", default=""),
    Arg("bitrate", "i", "0: as the URL says", unit="kbit/s", low=0, high=500, default=0),
    answers="`/done <address> number`; subscribers receive `/broadcast number live`, and "
    "`/broadcast number waiting reason` when it is interrupted",
    control_only=True,
)
def start(request: ServerRequest, url: str, format: str, bitrate: int) -> None:
    """Send the master to a server, a folder or a pipe, and connect again whenever that fails.

    The password appears in no reply, no log and no status. Folders and pipes are restricted as
    recordings are.
    """
    try:
        target = parse(url, format, bitrate)
    except TargetError as error:
        raise BadArgument(f"url: {error}") from None
    if target.protocol in (HLS, PIPE):
        real, _ = real_place(request, Path(target.path))
        target = replace(target, path=str(real))
    allowed = [str(root) for root in roots(request)]
    request.done(request.core.broadcasts.start(target, roots=allowed))


@TABLE.add(
    "/broadcast/stop",
    Arg("number", "i", "0: all", low=0, high=MAX_BROADCASTS, default=0),
    answers="`/done <address>`",
    control_only=True,
)
def stop(request: ServerRequest, number: int) -> None:
    """Stop a broadcast, or all."""
    if number:
        request.core.broadcasts.stop(number)
    else:
        request.core.broadcasts.stop_all()
    request.done()


@TABLE.add(
    "/broadcast/list",
    answers="`/broadcast/list.reply number place format state reason dropped ...`: six values for "
    "each broadcast; `dropped`: seconds of audio that the receiver was too slow for",
    control_only=True,
    changes=False,
)
def list_(request: ServerRequest) -> None:
    """List the broadcasts."""
    values = [
        value
        for one in request.core.broadcasts.all.values()
        for value in (one.number, one.place, one.format, one.state, one.reason, one.dropped)
    ]
    request.reply("/broadcast/list.reply", *values)
