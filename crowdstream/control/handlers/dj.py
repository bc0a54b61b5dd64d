"""Commands for the automatic DJ, and those that the DJ itself sends."""

from __future__ import annotations

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Arg
from crowdstream.control.dj_client import MAX_PARTS, PART_LENGTH
from crowdstream.control.handlers.server_request import ServerRequest

MAX_FOLDERS, MAX_FOLDER_LENGTH = 16, 1024  # so that all of them fit into one packet
MAX_TAGS, MAX_TAG_LENGTH = 16, 60
_TAKEN = "`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected"
_TRACK = "a track of the DJ's library: its path, or the end of its path"


@TABLE.add("/dj/next", answers=_TAKEN, control_only=True)
def following(request: ServerRequest) -> None:
    """Make the DJ start the transition to the next track at the next phrase, once it is loaded."""
    request.core.dj.forward(request, "next")


@TABLE.add("/dj/skip", answers=_TAKEN, control_only=True)
def skip(request: ServerRequest) -> None:
    """Make the DJ skip the track that is up next and select another one."""
    request.core.dj.forward(request, "skip")


@TABLE.add(
    "/dj/hold", Arg("on", "i", "1: hold, 0: resume", low=0, high=1, default=1),
    answers=_TAKEN, control_only=True, idempotent=True,
)  # fmt: skip
def hold(request: ServerRequest, on: int) -> None:
    """Make the DJ hold the playing track: its current phrase loops."""
    request.core.dj.forward(request, "hold", on)


@TABLE.add(
    "/dj/energy",
    Arg("energy", "f", "0: calm, 1: maximum; `auto`: from the plan and the crowd", low=0,
        high=1, words=("auto",)),
    answers=_TAKEN, control_only=True, idempotent=True,
)  # fmt: skip
def energy(request: ServerRequest, energy: float | str) -> None:
    """Set the energy of the tracks that the DJ selects next.

    A schedule leaves it alone until the next part of the opening begins, or until `auto`.
    """
    request.core.dj.forward(request, "energy", energy)
    request.core.opening_hours.hold_energy(energy)


@TABLE.add(
    "/dj/hours", Arg("open", "i", "1: play; 0: play the current track to its end, then be silent",
                     low=0, high=1),
    answers=_TAKEN, control_only=True, idempotent=True,
)  # fmt: skip
def hours(request: ServerRequest, open: int) -> None:
    """Open or close. A closed DJ plays nothing until it is opened again."""
    request.core.dj.forward(request, "hours", open)


@TABLE.add(
    "/dj/folders",
    Arg("folders", "s", "play only tracks below these folders; none: all", default=(), rest=True,
        max_length=MAX_FOLDER_LENGTH, max_count=MAX_FOLDERS),
    answers=_TAKEN, control_only=True, idempotent=True,
)  # fmt: skip
def folders(request: ServerRequest, folders: tuple[str, ...]) -> None:
    """Restrict the DJ's selection to folders of its library, from the next track on."""
    request.core.dj.forward(request, "folders", *folders)


@TABLE.add(
    "/dj/tags",
    Arg("tags", "s", "play only tracks with one of these tags, in any case; none: all", default=(),
        rest=True, max_length=MAX_TAG_LENGTH, max_count=MAX_TAGS),
    answers=_TAKEN, control_only=True, idempotent=True,
)  # fmt: skip
def tags(request: ServerRequest, tags: tuple[str, ...]) -> None:
    """Restrict the DJ's selection to tracks with certain tags, from the next track on.

    A track's tags are its genres, its groupings, the words after a # in its comments, or those that
    a person has given it (`tags` in its sidecar or in the library). With `/dj/folders`, both apply.
    """
    request.core.dj.forward(request, "tags", *tags)


@TABLE.add("/dj/queue", Arg("path", "s", _TRACK), answers=_TAKEN, control_only=True)
def queue(request: ServerRequest, path: str) -> None:
    """Queue a track, which the DJ plays as soon as it can. Queued tracks keep their order."""
    request.core.dj.forward(request, "queue", path)


@TABLE.add(
    "/dj/ban", Arg("path", "s", f"{_TRACK}; empty: the playing track", default=""),
    answers=_TAKEN, control_only=True, button=True,
)  # fmt: skip
def ban(request: ServerRequest, path: str) -> None:
    """Ban a track from the DJ's selection. If it is playing, the DJ moves to the next track."""
    request.core.dj.forward(request, "ban", path)


@TABLE.add(
    "/dj/release", Arg("what", "s", "a deck, tempo or all", default="all",
                       choices=(*DECK_LETTERS, "tempo", "all")),
    answers=_TAKEN, control_only=True, button=True, aliases=("/dj/give",),
    idempotent=True,
)  # fmt: skip
def release(request: ServerRequest, what: str) -> None:
    """Release a deck, the tempo or everything from manual control: the DJ takes it back."""
    # The word that DJs of every version know.
    request.core.dj.forward(request, "give", what)


@TABLE.add(
    "/dj/status",
    answers="`/dj/status.reply there part parts text` for each part of a JSON text with the "
    "playing track, the next one and the reason for it; `there` is 1 while a DJ is connected",
    control_only=True,
    changes=False,
)
def status(request: ServerRequest) -> None:
    """Query the state of the DJ."""
    request.core.dj.reply_status(request)


@TABLE.add(
    "/dj/register", Arg("what", "s", "begin: register, on: heartbeat, end: unregister",
                        choices=("begin", "on", "end")),
    answers="`/done <address>`; then `/dj/do number word arguments ...` for each request to the "
    "DJ, and `/dj/replaced` when another DJ has registered",
    control_only=True,
    changes=False,
    aliases=("/dj/here",),
)  # fmt: skip
def register(request: ServerRequest, what: str) -> None:
    """Register as the DJ, and send a heartbeat every second.

    A DJ that is silent for 8 s is considered disconnected.
    """
    dj = request.core.dj
    {"begin": dj.register, "on": dj.heartbeat, "end": dj.unregister}[what](request)
    request.done()


@TABLE.add(
    "/dj/answer",
    Arg("number", "i", "number of the `/dj/do`"),
    Arg("reason", "s", "why it was not done; empty: it was done", default=""),
    control_only=True,
    changes=False,
)
def answer(request: ServerRequest, number: int, reason: str) -> None:
    """As the DJ, report that a request was carried out, or why it was not."""
    request.core.dj.handle_answer(request, number, reason)


@TABLE.add(
    "/dj/state",
    Arg("part", "i", "number of this part, counted from 1", low=1, high=MAX_PARTS),
    Arg("parts", "i", "number of parts", low=1, high=MAX_PARTS),
    Arg("text", "s", "part of a JSON object", max_length=PART_LENGTH),
    control_only=True,
    changes=False,
)
def state(request: ServerRequest, part: int, parts: int, text: str) -> None:
    """As the DJ, publish one's state, which the web page shows."""
    if part > parts:
        raise BadArgument(f"part: there is no part {part} of {parts}")
    request.core.dj.publish(request, part, parts, text)
