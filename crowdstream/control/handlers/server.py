"""Server commands. Those that SuperCollider's server has as well have the same form there."""

from __future__ import annotations

from functools import partial

import crowdstream
from crowdstream.commands.errors import BadArgument
from crowdstream.commands.patterns import Selection
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Arg
from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS
from crowdstream.control.handlers.common import DISCARDS
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.load_shedding import AUTO
from crowdstream.control.publish.change_feed import FORMER_SUBSCRIBE
from crowdstream.control.publish.reply_ports import MAX_REPLY_PORT, MIN_REPLY_PORT
from crowdstream.desk.load_shedding import LEVELS

MAX_SELECTED = 32  # patterns per command
MAX_LISTED_EVENTS = 100  # they fit into one packet
MIN_FRAMES, MAX_FRAMES = 16, 8192  # per block


@TABLE.add("/status", answers="`/status.reply`, see *Status*", control_only=True, changes=False)
def status(request: ServerRequest) -> None:
    """Query the server's status."""
    request.reply("/status.reply", *request.core.status.values())


@TABLE.add(
    "/notify",
    Arg("on", "i", "1: subscribe, 0: unsubscribe", low=0, high=1, default=1),
    Arg(
        "port", "i", "port on which this client receives replies and events from now on; left "
        "out: unchanged, which is at first the port that it sends from",
        low=MIN_REPLY_PORT, high=MAX_REPLY_PORT, default=None,
    ),
    answers="`/done /notify <client number> <maximum of clients>`, to that port",
    control_only=True,
    changes=False,
)
def notify(request: ServerRequest, on: int, port: int | None) -> None:
    """Subscribe to events: underruns, ends of tracks, broken files.

    A client that receives on another port than it sends from names that port here, before it
    subscribes to anything else. With `on` 0, replies go to its sending port again, and
    the named port receives nothing more.
    """
    core = request.core
    if port is not None and on:
        core.replies.check_subscription(request.sender)
        named = core.reply_ports.name(request.sender, port)
        if named != request.sender:
            core.unsubscribe(request.sender)
            request.sender, request.reply = named, core.reply_to(named)
    number = core.subscribers.switch(request, bool(on))
    if not on:
        core.midi_ticks.forget(request.sender)
        if core.reply_ports.forget(request.sender):
            core.unsubscribe(request.sender)  # from its sending port it can end nothing there
    request.done(number, MAX_SUBSCRIBERS)


@TABLE.add(
    "/changes/subscribe",
    Arg("on", "i", "1: subscribe, 0: unsubscribe", low=0, high=1, default=1),
    answers="`/done <address> <client number> <maximum of clients>`, then `/changed address "
    "arguments ...` for each change, see *Watch changes* in the introduction",
    control_only=True,
    changes=False,
    aliases=(FORMER_SUBSCRIBE,),
)
def subscribe_to_changes(request: ServerRequest, on: int) -> None:
    """Subscribe to the changes that all clients make: other clients, web pages and yourself.

    A client that subscribes by the alias receives former addresses where there are any.
    """
    request.done(request.core.changes.switch(request, bool(on)), MAX_SUBSCRIBERS)


@TABLE.add(
    "/feedback",
    Arg("on", "i", "1: subscribe to the mixer's values, 0: unsubscribe", low=0, high=1, default=1),
    Arg("echo", "i", "1: include the values that this client sets, 0: leave them out", low=0,
        high=1, default=1),
    Arg("addresses", "s", "addresses or patterns, including everything below them; none: all",
        rest=True, default=(), max_count=MAX_SELECTED),
    answers="`/done /feedback <client number> <maximum of clients>`, then all current values, and "
    "then each value that changes, see *Feedback for controllers* in the introduction",
    control_only=True,
    changes=False,
)
def feedback(request: ServerRequest, on: int, echo: int, addresses: tuple[str, ...]) -> None:
    """Subscribe to values, sent under the addresses that set them, for display on a controller."""
    found = request.core.feedback
    number = (
        found.subscribe(request, bool(echo), addresses) if on else found.unsubscribe(request.sender)
    )
    request.done(number, MAX_SUBSCRIBERS)


@TABLE.add(
    "/events",
    Arg("count", "i", "number of events", low=1, high=MAX_LISTED_EVENTS, default=20),
    answers="`/events.reply <count>`, followed by time (UTC), level (`info`, `warning`, `error`), "
    "kind and text of each event, the latest last",
    control_only=True,
    changes=False,
)
def events(request: ServerRequest, count: int) -> None:
    """Query the latest events of the event log, including those before the last restart.

    Subscribers (`/notify`) receive each new one as `/event`.
    """
    found = request.core.events.latest(count)
    values = [value for one in found for value in (one.stamp, one.level, one.kind, one.text)]
    request.reply("/events.reply", len(found), *values)


@TABLE.add(
    "/waiting",
    answers="`/waiting.reply <count>`, followed by number, seconds and address of the first 50",
    control_only=True,
    changes=False,
)
def waiting(request: ServerRequest) -> None:
    """List the messages that are scheduled for a time or a beat."""
    held = request.core.scheduler
    values = [value for one in held.listed() for value in (one.number, one.seconds, one.entry[0])]
    request.reply("/waiting.reply", len(held), *values)


@TABLE.add(
    "/cancel",
    Arg("what", "s", "decks, and addresses or patterns including everything below them; none: all "
        "messages", rest=True, default=(), max_count=MAX_SELECTED),
    answers=f"`/done /cancel <count>`, and {DISCARDS}",
    control_only=True,
    button=True,
)
def cancel(request: ServerRequest, what: tuple[str, ...]) -> None:
    """Cancel messages that are scheduled for a time or a beat.

    `A` stands for all messages to deck A, including those of older vocabularies; `/deck/*/eq` for
    the EQ bands of all decks. Messages that act within half a second are already with the engine
    and are not cancelled.
    """
    decks = {DECK_LETTERS.index(one.upper()) for one in what if one.upper() in set(DECK_LETTERS)}
    patterns = [one for one in what if one.upper() not in set(DECK_LETTERS)]
    selection = Selection(patterns) if patterns else None
    request.done(request.core.scheduler.cancel(request, selection, decks))


@TABLE.add(
    "/cancel/number",
    Arg("number", "i", "number from `/waiting`", low=0),
    answers=f"`/done /cancel/number <count>`, and {DISCARDS}",
    control_only=True,
)
def cancel_number(request: ServerRequest, number: int) -> None:
    """Cancel one bundle, or one message that is scheduled for a beat."""
    count = request.core.scheduler.cancel_number(request, number)
    if not count:
        raise BadArgument(f"number: no scheduled message has number {number}")
    request.done(count)


@TABLE.add(
    "/sync", Arg("id", "i", "any number", default=0), answers="`/synced id`", changes=False
)
def sync(request: ServerRequest, id: int) -> None:
    """Reply once all commands sent before have been carried out."""
    request.deck_manager.sync(request, id)


@TABLE.add(
    "/ping",
    Arg("id", "i", "any number", default=0),
    Arg("engine", "i", "1: wait until the engine has received the commands sent before, so that "
        "each `/late` comes first", low=0, high=1, default=0),
    answers="`/pong id`",
    control_only=True,
    changes=False,
)
def ping(request: ServerRequest, id: int, engine: int) -> None:
    """Reply once all commands sent before have been handled: each `/fail` comes before the reply.

    Unlike `/sync`, it does not wait for files that are still being loaded.
    """
    pong = partial(request.reply, "/pong", id)
    if engine:
        request.voice_allocator.mark(pong)  # not saved: after a restart, the client repeats it
    else:
        pong()


@TABLE.add(
    "/buffer_size",
    Arg("frames", "i", "frames per block", low=MIN_FRAMES, high=MAX_FRAMES),
    answers="`/done /buffer_size <frames> <ms of silence>`",
)
def buffer_size(request: ServerRequest, frames: int) -> None:
    """Change the buffer size during playback.

    Another engine opens the device and continues at the very next frame. Before that, subscribers
    receive `/buffer_size <frames> <ms>` with the expected silence: at most one block, or on a
    device that takes only one stream at a time, the time that it takes to reopen. If the device
    does not accept the size, the old one stays. A restart of the server returns to the size in the
    settings.
    """
    request.core.resize(frames, request.done, request.fail)


@TABLE.add(
    "/settings/reload",
    answers="`/settings/reload.reply <applied> <restart>`: names of settings, separated by spaces; "
    "those that were applied, and those that need a restart",
    control_only=True,
)
def reload_settings(request: ServerRequest) -> None:
    """Read the settings again, and apply what has changed while the music plays.

    `systemctl reload crowdstream` does the same. If anything in the configuration file, the
    movement map or the schedule is invalid, nothing changes. Settings that the reference does not
    mark as *live* stay as they are until the server is restarted.
    """
    reloaded = request.core.reload_settings(request)
    names = (" ".join(reloaded.applied), " ".join(reloaded.restart))
    request.reply("/settings/reload.reply", *names)


@TABLE.add(
    "/quality",
    Arg("level", "i", "load-shedding level", low=0, high=LEVELS - 1, words=(AUTO,)),
    scheduled=True,
)
def quality(request: ServerRequest, level: int | str) -> None:
    """Hold a quality level, or let it follow the CPU load.

    Level 0 is full quality. Level 1 bypasses optional effects. Level 2 also bypasses keylock, so
    the pitch follows the tempo. Level 3 also interpolates with half the filter taps. With `auto`,
    quality drops by one level when rendering takes more than 70 percent of a block's duration or
    misses its deadline, and rises by one level after some seconds of low load. Everything that is
    bypassed is restored afterwards.
    """
    request.core.load_shedding.hold(request, None if level == AUTO else int(level))


@TABLE.add(
    "/version", answers="`/version.reply name major minor patch branch commit`", control_only=True,
    changes=False,
)
def version(request: ServerRequest) -> None:
    """Query the program's name and version."""
    major, minor, patch = crowdstream.__version__.split(".")
    request.reply(
        "/version.reply", "crowdstream", int(major), int(minor), f".{patch}", "main", ""
    )
