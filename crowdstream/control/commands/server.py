"""Commands about the server itself; those SuperCollider's server has too, as it has them."""

from __future__ import annotations

import crowdstream
from crowdstream.control.context import MOST_SUBSCRIBERS, Context
from crowdstream.control.table import TABLE, Arg

LEAST_FRAMES, MOST_FRAMES = 16, 8192  # of a block


@TABLE.add("/status", answers="`/status.reply`, see below", asks=True, changes=False)
def status(context: Context) -> None:
    """Ask how the server is."""
    context.reply("/status.reply", *context.core.status.values())


@TABLE.add(
    "/notify",
    Arg("on", "i", "1: send me events, 0: no more", low=0, high=1, default=1),
    answers="`/done /notify <client number> <most clients>`",
    asks=True,
    changes=False,
)
def notify(context: Context, on: int) -> None:
    """Subscribe to events: underruns, tracks that end, files that break."""
    core = context.core
    if not on:
        core.ticks.forget(context.sender)
    context.done(core.subscribers.switch(context, bool(on)), MOST_SUBSCRIBERS)


@TABLE.add(
    "/watch",
    Arg("on", "i", "1: tell me what anybody does, 0: no more", low=0, high=1, default=1),
    answers="`/done /watch <client number> <most clients>`, and from then on `/changed address "
    "arguments ...`, see above",
    asks=True,
    changes=False,
)
def watch(context: Context, on: int) -> None:
    """Subscribe to what is done, by anybody: other clients, pages, yourself."""
    watchers = context.core.changes.watchers
    context.done(watchers.switch(context, bool(on)), MOST_SUBSCRIBERS)


@TABLE.add(
    "/sync", Arg("id", "i", "any number", default=0), answers="`/synced id`", changes=False
)
def sync(context: Context, id: int) -> None:
    """Answer when everything that was said before is done."""
    context.mixer.sync(context, id)


@TABLE.add(
    "/buffer_size",
    Arg("frames", "i", "frames of a block", low=LEAST_FRAMES, high=MOST_FRAMES),
    answers="`/done /buffer_size <frames> <ms of silence>`",
)
def buffer_size(context: Context, frames: int) -> None:
    """Play on with blocks of another size.

    Another engine opens the device and goes on at the very next frame. Before that subscribers get
    `/buffer_size <frames> <ms>` with the silence to expect: a block or less; where a device takes
    one stream at a time, until it is open again. With a size that the device does not take it stays
    as it was. After a restart of the server it is that of the settings.
    """
    context.core.resize(frames, context.done, context.fail)


@TABLE.add(
    "/version", answers="`/version.reply name major minor patch branch commit`", asks=True,
    changes=False,
)
def version(context: Context) -> None:
    """Ask for the program's name and version."""
    major, minor, patch = crowdstream.__version__.split(".")
    context.reply(
        "/version.reply", "crowdstream", int(major), int(minor), f".{patch}", "main", ""
    )
