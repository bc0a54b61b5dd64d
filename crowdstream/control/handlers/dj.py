"""Commands of the automatic DJ: what a person tells it, and what it says itself."""

from __future__ import annotations

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Arg
from crowdstream.control.dj_client import MAX_PARTS, PART_LENGTH
from crowdstream.control.handlers.server_request import ServerRequest

_TAKEN = "`/done <address>` when the DJ has taken it; `/fail` when there is none"
_TRACK = "a track as the DJ's library has it: its path, or the end of that"


@TABLE.add("/dj/next", answers=_TAKEN, asks=True)
def following(request: ServerRequest) -> None:
    """Have the DJ go into the next track with the next phrase."""
    request.core.dj.ask(request, "next")


@TABLE.add("/dj/skip", answers=_TAKEN, asks=True)
def skip(request: ServerRequest) -> None:
    """Have the DJ leave out the track that would come next; another takes its place."""
    request.core.dj.ask(request, "skip")


@TABLE.add(
    "/dj/hold", Arg("on", "i", "1: stay, 0: go on", low=0, high=1, default=1),
    answers=_TAKEN, asks=True,
)  # fmt: skip
def hold(request: ServerRequest, on: int) -> None:
    """Have the DJ stay in the track that plays: its phrase loops instead of leading on."""
    request.core.dj.ask(request, "hold", on)


@TABLE.add(
    "/dj/energy",
    Arg("energy", "f", "0 calm, 1 all there is; auto: as the plan and the crowd say", low=0,
        high=1, words=("auto",)),
    answers=_TAKEN, asks=True,
)  # fmt: skip
def energy(request: ServerRequest, energy: float | str) -> None:
    """Say how much energy the DJ's next tracks are to have."""
    request.core.dj.ask(request, "energy", energy)


@TABLE.add("/dj/queue", Arg("path", "s", _TRACK), answers=_TAKEN, asks=True)
def queue(request: ServerRequest, path: str) -> None:
    """Have the DJ play this track as soon as it can; several come in their order."""
    request.core.dj.ask(request, "queue", path)


@TABLE.add(
    "/dj/ban", Arg("path", "s", f"{_TRACK}; empty: the one that plays", default=""),
    answers=_TAKEN, asks=True, button=True,
)  # fmt: skip
def ban(request: ServerRequest, path: str) -> None:
    """Have the DJ never play this track; when it plays, go on to the next one."""
    request.core.dj.ask(request, "ban", path)


@TABLE.add(
    "/dj/give", Arg("what", "s", "a deck, tempo or all", default="all",
                    choices=(*DECK_LETTERS, "tempo", "all")),
    answers=_TAKEN, asks=True, button=True,
)  # fmt: skip
def give(request: ServerRequest, what: str) -> None:
    """Give the DJ back what was taken out of its hands by touching it."""
    request.core.dj.ask(request, "give", what)


@TABLE.add(
    "/dj/status",
    answers="`/dj/status.reply there part parts text` for each part of a JSON text: what plays, "
    "what comes and why; `there` is 1 while a DJ is",
    asks=True,
    changes=False,
)
def status(request: ServerRequest) -> None:
    """Ask what the DJ does."""
    request.core.dj.tell(request)


@TABLE.add(
    "/dj/here", Arg("what", "s", "begin: I am the DJ, on: I still am, end: good-bye",
                    choices=("begin", "on", "end")),
    answers="`/done /dj/here`; then `/dj/do number word arguments ...` for what it is told, and "
    "`/dj/replaced` when another one has begun",
    asks=True,
    changes=False,
)  # fmt: skip
def here(request: ServerRequest, what: str) -> None:
    """Say that one is the DJ. It says so again each second; after 8 s without it counts as gone."""
    {"begin": request.core.dj.begin, "on": request.core.dj.on, "end": request.core.dj.end}[what](
        request
    )
    request.done()


@TABLE.add(
    "/dj/answer",
    Arg("number", "i", "of the `/dj/do`"),
    Arg("reason", "s", "why it was not done; empty: it was", default=""),
    asks=True,
    changes=False,
)
def answer(request: ServerRequest, number: int, reason: str) -> None:
    """Say, as the DJ, that something was done, or why it was not."""
    request.core.dj.answered(request, number, reason)


@TABLE.add(
    "/dj/state",
    Arg("part", "i", "the first is 1", low=1, high=MAX_PARTS),
    Arg("parts", "i", "how many there are", low=1, high=MAX_PARTS),
    Arg("text", "s", "part of a JSON object", max_length=PART_LENGTH),
    asks=True,
    changes=False,
)
def state(request: ServerRequest, part: int, parts: int, text: str) -> None:
    """Say, as the DJ, what one does; pages show it."""
    if part > parts:
        raise BadArgument(f"part: there is no part {part} of {parts}")
    request.core.dj.publish(request, part, parts, text)
