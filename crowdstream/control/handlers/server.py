"""Commands about the server itself; those SuperCollider's server has too, as it has them."""

from __future__ import annotations

import crowdstream
from crowdstream.commands.errors import BadArgument
from crowdstream.commands.patterns import Selection
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Arg
from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS
from crowdstream.control.handlers.common import DISCARDS
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.publish.reply_ports import MAX_REPLY_PORT, MIN_REPLY_PORT

MAX_SELECTED = 32  # patterns of one command
MIN_FRAMES, MAX_FRAMES = 16, 8192  # of a block


@TABLE.add("/status", answers="`/status.reply`, see below", asks=True, changes=False)
def status(request: ServerRequest) -> None:
    """Ask how the server is."""
    request.reply("/status.reply", *request.core.status.values())


@TABLE.add(
    "/notify",
    Arg("on", "i", "1: send me events, 0: no more", low=0, high=1, default=1),
    Arg(
        "port", "i", "where this client listens: all answers and subscriptions go there from now "
        "on; left out: where they go already, at first the port that it sends from",
        low=MIN_REPLY_PORT, high=MAX_REPLY_PORT, default=None,
    ),
    answers="`/done /notify <client number> <most clients>`, to that port",
    asks=True,
    changes=False,
)
def notify(request: ServerRequest, on: int, port: int | None) -> None:
    """Subscribe to events: underruns, tracks that end, files that break.

    A client that listens on another port than it sends from names it, before it subscribes to
    anything else. With 0, answers go to the port that it sends from again.
    """
    core = request.core
    if port is not None and on:
        core.answers.check_subscription(request.sender)
        named = core.reply_ports.name(request.sender, port)
        if named != request.sender:
            core.unsubscribe(request.sender)
            request.sender, request.reply = named, core.reply_to(named)
    if not on:
        core.ticks.forget(request.sender)
        core.reply_ports.forget(request.sender)
    request.done(core.subscribers.switch(request, bool(on)), MAX_SUBSCRIBERS)


@TABLE.add(
    "/watch",
    Arg("on", "i", "1: tell me what anybody does, 0: no more", low=0, high=1, default=1),
    answers="`/done /watch <client number> <most clients>`, and from then on `/changed address "
    "arguments ...`, see above",
    asks=True,
    changes=False,
)
def watch(request: ServerRequest, on: int) -> None:
    """Subscribe to what is done, by anybody: other clients, pages, yourself."""
    watchers = request.core.changes.watchers
    request.done(watchers.switch(request, bool(on)), MAX_SUBSCRIBERS)


@TABLE.add(
    "/feedback",
    Arg("on", "i", "1: send me the mixer's values, 0: no more", low=0, high=1, default=1),
    Arg("echo", "i", "1: also those that I set myself, 0: not those", low=0, high=1, default=1),
    Arg("addresses", "s", "addresses or patterns, and what is below them; none: all", rest=True,
        default=(), max_count=MAX_SELECTED),
    answers="`/done /feedback <client number> <most clients>`, then all values that there are, and "
    "from then on those that change, see above",
    asks=True,
    changes=False,
)
def feedback(request: ServerRequest, on: int, echo: int, addresses: tuple[str, ...]) -> None:
    """Have values come back under the addresses that set them, as controllers show them."""
    found = request.core.feedback
    number = (
        found.subscribe(request, bool(echo), addresses) if on else found.forget(request.sender)
    )
    request.done(number, MAX_SUBSCRIBERS)


@TABLE.add(
    "/waiting",
    answers="`/waiting.reply <count>`, then number, seconds and address of each of the first 50",
    asks=True,
    changes=False,
)
def waiting(request: ServerRequest) -> None:
    """Ask which messages wait for their time or beat."""
    held = request.core.waiting
    values = [value for one in held.listed() for value in (one.number, one.seconds, one.entry[0])]
    request.reply("/waiting.reply", len(held), *values)


@TABLE.add(
    "/cancel",
    Arg("what", "s", "decks, and addresses or patterns with what is below them; none: everything",
        rest=True, default=(), max_count=MAX_SELECTED),
    answers=f"`/done /cancel <count>`, and {DISCARDS}",
    asks=True,
    button=True,
)
def cancel(request: ServerRequest, what: tuple[str, ...]) -> None:
    """Discard messages that wait for their time or beat.

    `A` is all that is for deck A, under its addresses or older ones; `/deck/*/eq` are the bands of
    all decks. What acts within half a second is with the engine already, and is not discarded.
    """
    decks = {DECK_LETTERS.index(one.upper()) for one in what if one.upper() in set(DECK_LETTERS)}
    patterns = [one for one in what if one.upper() not in set(DECK_LETTERS)]
    selection = Selection(patterns) if patterns else None
    request.done(request.core.waiting.cancel(request, selection, decks))


@TABLE.add(
    "/cancel/number",
    Arg("number", "i", "as `/waiting` says it", low=0),
    answers=f"`/done /cancel/number <count>`, and {DISCARDS}",
    asks=True,
)
def cancel_number(request: ServerRequest, number: int) -> None:
    """Discard one bundle, or one message that waits for a beat."""
    count = request.core.waiting.cancel_number(request, number)
    if not count:
        raise BadArgument(f"number: nothing that waits has {number}")
    request.done(count)


@TABLE.add(
    "/sync", Arg("id", "i", "any number", default=0), answers="`/synced id`", changes=False
)
def sync(request: ServerRequest, id: int) -> None:
    """Answer when everything that was said before is done."""
    request.mixer.sync(request, id)


@TABLE.add(
    "/buffer_size",
    Arg("frames", "i", "frames of a block", low=MIN_FRAMES, high=MAX_FRAMES),
    answers="`/done /buffer_size <frames> <ms of silence>`",
)
def buffer_size(request: ServerRequest, frames: int) -> None:
    """Play on with blocks of another size.

    Another engine opens the device and goes on at the very next frame. Before that subscribers get
    `/buffer_size <frames> <ms>` with the silence to expect: a block or less; where a device takes
    one stream at a time, until it is open again. With a size that the device does not take it stays
    as it was. After a restart of the server it is that of the settings.
    """
    request.core.resize(frames, request.done, request.fail)


@TABLE.add(
    "/version", answers="`/version.reply name major minor patch branch commit`", asks=True,
    changes=False,
)
def version(request: ServerRequest) -> None:
    """Ask for the program's name and version."""
    major, minor, patch = crowdstream.__version__.split(".")
    request.reply(
        "/version.reply", "crowdstream", int(major), int(minor), f".{patch}", "main", ""
    )
