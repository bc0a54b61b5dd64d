"""Commands that record."""

from __future__ import annotations

import os
from pathlib import Path

from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.stems.track_files import check_media_root
from crowdstream.commands.errors import BadArgument, CommandError
from crowdstream.commands.registry import DECK_LETTERS, MAX_WORD_LENGTH, TABLE, Arg
from crowdstream.control.decks.track import Track, first_buffer
from crowdstream.control.handlers.common import context_frame
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.constants import (
    INPUTS,
    STEMS,
    TAP_CUE,
    TAP_DECK,
    TAP_INPUT,
    TAP_MASTER,
    TAP_STEM,
)
from crowdstream.recorder.formats import EXTENSIONS, FORMATS, FormatError, format_of
from crowdstream.system.medium import MediumHangs
from crowdstream.system.text import printable, truncate_bytes

_WHAT = "master, cue, decks, stems, inputs, a deck (`A`), a stem (`A/1`) or an input (`input1`)"


def _track(request: ServerRequest, deck: int) -> Track | None:
    return request.track_table.shown(first_buffer(deck))


def _stem(request: ServerRequest, deck: int, stem: int) -> tuple[int, str]:
    track = _track(request, deck)
    name = f"-{DECK_LETTERS[deck]}-{stem + 1}"
    if track and stem < len(track.stems):
        safe = "".join(c if c.isalnum() or c in "-_ " else "_" for c in track.stems[stem])
        name += f"-{truncate_bytes(safe, 50)}"
    return TAP_STEM + STEMS * deck + stem, name


def _deck(deck: int) -> tuple[int, str]:
    return TAP_DECK + deck, f"-deck-{DECK_LETTERS[deck]}"


def _input(number: int) -> tuple[int, str]:
    return TAP_INPUT + number, f"-input-{number + 1}"


def _chosen(request: ServerRequest, word: str) -> list[tuple[int, str]]:
    # The taps that a word stands for, each with the suffix of its file's name.
    name = word.lower()
    if name == "master":
        return [(TAP_MASTER, "")]
    if name == "cue":
        return [(TAP_CUE, "-cue")]
    if name == "decks":
        return [_deck(deck) for deck in range(len(DECK_LETTERS))]
    if name == "stems":
        tracks = [(deck, _track(request, deck)) for deck in range(len(DECK_LETTERS))]
        taps = [
            _stem(request, deck, stem)
            for deck, track in tracks if track for stem in range(len(track.stems))
        ]
        if not taps:
            raise BadArgument("what: no deck has a track, so name the stems, such as A/1")
        return taps
    inputs = {f"input{number + 1}": number for number in range(INPUTS)}
    if name == "inputs":
        count = len(request.core.live_inputs.inputs)
        if not count:
            raise BadArgument("what: there are no inputs: they need --input at the start")
        return [_input(number) for number in range(count)]
    if name in inputs:
        request.core.live_inputs.get(inputs[name])
        return [_input(inputs[name])]
    letter, slash, number = name.partition("/")
    deck = DECK_LETTERS.lower().find(letter) if len(letter) == 1 else -1
    if deck >= 0 and not slash:
        return [_deck(deck)]
    if deck >= 0 and number.isascii() and number.isdigit() and 1 <= int(number) <= STEMS:
        return [_stem(request, deck, int(number) - 1)]
    raise BadArgument(f"what: {word!r} must be one of {', '.join(FORMATS)}, {_WHAT}")


def roots(request: ServerRequest) -> tuple[Path, ...]:
    """Return the folders to which recordings are restricted, if any."""
    settings = request.core.settings
    return (*settings.media_root, *((settings.record_folder,) if settings.record_folder else ()))


def _place(request: ServerRequest, path: str) -> Path:
    # The real path of a new file, in a folder where recordings are allowed.
    settings = request.core.settings
    given = Path(path)
    if settings.record_folder and not given.is_absolute() and not path.startswith("~"):
        given = settings.record_folder.expanduser() / given
    real, is_folder = real_place(request, given)
    if is_folder:
        raise BadArgument("path: this is a folder; name a file in it")
    return real


def real_place(request: ServerRequest, given: Path) -> tuple[Path, bool]:
    """Return the real path of a place where recordings are allowed, and whether it is a folder.

    Raises `CommandError`.
    """
    allowed = roots(request)

    def look() -> tuple[Path, bool]:
        real = check_media_root(given, allowed)
        return real, os.path.isdir(real)  # Path.is_dir raises for a name that is too long

    try:
        return request.core.track_table.bound(look)
    except AudioFileError as error:
        raise CommandError(str(error)) from error
    except MediumHangs:
        raise CommandError(f"{printable(given)}: its medium does not answer") from None


@TABLE.add(
    "/record/start",
    Arg("path", "s", "file to write, `.wav` or `.flac`; `~` is your home folder, a relative path "
        "starts at `--record-folder`, or else at the folder in which the server was started"),
    Arg("what", "s", f"a format ({', '.join(FORMATS)}) and what to record: {_WHAT}", default=(),
        rest=True, max_length=MAX_WORD_LENGTH),
    answers="`/done <address> path frame` for each file, with its first frame; later "
    "`/record/lost path frames` when the disk is too slow, `/record/continued path frames next` "
    "when the file has reached its maximum size and the recording continues in `next`, and "
    "`/record/failed path reason` when the file ends early; subscribers receive these as well",
    scheduled=True,
    idempotent=False,
)
def start(request: ServerRequest, path: str, what: tuple[str, ...]) -> None:
    """Record the master, or each of the named sources to a file of its own.

    Sources other than the master add a suffix to the file name: `mix-deck-A.wav`,
    `mix-A-1-drums.wav`. Without a format, the extension decides: `.wav` means wav24. Existing
    files are never overwritten.
    """
    words = [word.lower() for word in what if word.lower() in FORMATS]
    if len(words) > 1:
        raise BadArgument(f"what: {' and '.join(words)} are several formats; name only one")
    taps: dict[int, str] = {}
    for word in [word for word in what if word.lower() not in FORMATS] or ["master"]:
        taps.update(_chosen(request, word))
    place = _place(request, path)
    try:
        form = format_of(place, *words)
    except FormatError as error:
        raise BadArgument(f"path: {error}") from error
    extension = place.suffix or EXTENSIONS[form]
    files = [(tap, place.with_name(place.stem + name + extension)) for tap, name in taps.items()]
    request.core.recordings.start(
        request, files, form, context_frame(request), roots(request),
        request.core.settings.record_reserve << 20,
    )  # fmt: skip


@TABLE.add(
    "/record/stop",
    answers="`/done <address> path frames` for each file when it is complete",
    scheduled=True,
)
def stop(request: ServerRequest) -> None:
    """Stop recording. The files contain the frames up to this one."""
    request.core.recordings.stop(request, context_frame(request))


@TABLE.add(
    "/record/status",
    answers="`/record/status.reply files seconds lost path ...`: the number of files being "
    "recorded, their length, and the number of frames lost because the disk was too slow",
    control_only=True,
    changes=False,
)
def status(request: ServerRequest) -> None:
    """Query the current recordings."""
    recordings = request.core.recordings
    request.reply("/record/status.reply", *recordings.readings().values(), *recordings.paths())
