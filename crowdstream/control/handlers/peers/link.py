"""Ableton Link: follow a session, or lead it."""

from __future__ import annotations

from crowdstream.commands.errors import BadArgument
from crowdstream.commands.registry import DECK_LETTERS, TABLE, Arg
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.control.peers.link import MODES

MAX_OFFSET_MS = 1000.0


@TABLE.add(
    "/link/enable",
    Arg("on", "i", "1: join the session, 0: leave it", low=0, high=1, default=1),
    control_only=True,
)
def enable(request: ServerRequest, on: int) -> None:
    """Take part in an Ableton Link session, or leave it; see `--link`.

    Neither changes the clock's tempo or phase by a jump.
    """
    request.core.link.enable(bool(on))


@TABLE.add(
    "/link/mode",
    Arg("mode", "s", "what the clock does", choices=MODES),
    control_only=True,
)
def mode(request: ServerRequest, mode: str) -> None:
    """Choose between following and leading the session.

    A follower takes tempo and phase from the session, and refuses tempo commands while there are
    other peers. A leader sets both. A peer takes both, and sends its tempo commands to the session.
    """
    request.core.link.set_mode(mode)


@TABLE.add(
    "/link/startstop",
    Arg("on", "i", "1: share starts and stops with the session, 0: do not", low=0, high=1),
    Arg("decks", "s", "letters of the decks that the session starts and stops", default="ABCD"),
    control_only=True,
)
def startstop(request: ServerRequest, on: int, decks: str) -> None:
    """Share starts and stops with the session.

    When a follower's session starts, its decks that have a track start at the next bar; when it
    stops, they stop. A leader's session plays while a deck plays.
    """
    letters = decks.upper()
    if not letters or set(letters) - set(DECK_LETTERS):
        raise BadArgument(f"decks: must be letters of {''.join(DECK_LETTERS)}, such as AB")
    request.core.link.set_start_stop(bool(on), "".join(sorted(set(letters))))


@TABLE.add(
    "/link/offset",
    Arg("offset", "f", "positive: the output is heard later than reported", unit="ms",
        low=-MAX_OFFSET_MS, high=MAX_OFFSET_MS),
    control_only=True,
)
def offset(request: ServerRequest, offset: float) -> None:
    """Correct the output latency that the device reports, for Link only.

    For Bluetooth speakers, amplifiers with a delay, and drivers that report too little.
    """
    request.core.link.set_offset(offset / 1000.0)


@TABLE.add(
    "/link/status",
    answers="`/link/status.reply state mode peers bpm deviation start_stop playing reason`; the "
    "deviation of the session from the clock is in ms, positive if the session is ahead",
    control_only=True,
    changes=False,
)
def status(request: ServerRequest) -> None:
    """Query what Ableton Link does; the states are described with the `/status`."""
    link = request.core.link
    request.reply(
        "/link/status.reply", link.state, link.mode, link.peers, link.session_bpm,
        1000.0 * link.deviation, int(link.start_stop), int(link.playing), link.reason,
    )
