"""Commands of recording."""

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
from crowdstream.desk.constants import STEMS, TAP_CUE, TAP_DECK, TAP_MASTER, TAP_STEM
from crowdstream.recorder.formats import EXTENSIONS, FORMATS, FormatError, format_of
from crowdstream.system.text import cut

_WHAT = "master, cue, decks, stems, a deck (`A`) or a stem (`A/1`)"


def _track(request: ServerRequest, deck: int) -> Track | None:
    return request.buffers.shown(first_buffer(deck))


def _stem(request: ServerRequest, deck: int, stem: int) -> tuple[int, str]:
    track = _track(request, deck)
    name = f"-{DECK_LETTERS[deck]}-{stem + 1}"
    if track and stem < len(track.stems):
        safe = "".join(c if c.isalnum() or c in "-_ " else "_" for c in track.stems[stem])
        name += f"-{cut(safe, 50)}"
    return TAP_STEM + STEMS * deck + stem, name


def _deck(deck: int) -> tuple[int, str]:
    return TAP_DECK + deck, f"-deck-{DECK_LETTERS[deck]}"


def _chosen(request: ServerRequest, word: str) -> list[tuple[int, str]]:
    # The taps that a word means, each with what its file's name ends in.
    name = word.lower()
    if name == "master":
        return [(TAP_MASTER, "")]
    if name == "cue":
        return [(TAP_CUE, "-cue")]
    if name == "decks":
        return [_deck(deck) for deck in range(len(DECK_LETTERS))]
    if name == "stems":
        tracks = [(deck, _track(request, deck)) for deck in range(len(DECK_LETTERS))]
        found = [
            _stem(request, deck, stem)
            for deck, track in tracks if track for stem in range(len(track.stems))
        ]
        if not found:
            raise BadArgument("what: no deck has a track, so name the stems, such as A/1")
        return found
    letter, slash, number = name.partition("/")
    deck = DECK_LETTERS.lower().find(letter) if len(letter) == 1 else -1
    if deck >= 0 and not slash:
        return [_deck(deck)]
    if deck >= 0 and number.isascii() and number.isdigit() and 1 <= int(number) <= STEMS:
        return [_stem(request, deck, int(number) - 1)]
    raise BadArgument(f"what: {word!r} is none of {', '.join(FORMATS)}, {_WHAT}")


def _roots(request: ServerRequest) -> tuple[Path, ...]:
    # The folders that recordings have to be made in, if any.
    settings = request.core.settings
    return (*settings.media_root, *((settings.record_folder,) if settings.record_folder else ()))


def _place(request: ServerRequest, path: str) -> Path:
    # The real path of a file to be made, in a folder where that is allowed.
    settings = request.core.settings
    given = Path(path)
    if settings.record_folder and not given.is_absolute() and not path.startswith("~"):
        given = settings.record_folder.expanduser() / given
    try:
        real = check_media_root(given, _roots(request))
    except AudioFileError as error:
        raise CommandError(str(error)) from error
    if os.path.isdir(real):  # of a name that is too long Path.is_dir would raise
        raise BadArgument("path: it is a folder, name a file in it")
    return real


@TABLE.add(
    "/record/start",
    Arg("path", "s", "file to make, `.wav` or `.flac`; `~` is your home, a relative path starts "
        "from `--record-folder`, or else from the folder that the server was started in"),
    Arg("what", "s", f"a format ({', '.join(FORMATS)}) and what to record: {_WHAT}", default=(),
        rest=True, max_length=MAX_WORD_LENGTH),
    answers="`/done <address> path frame` for each file, with the frame it begins at; later "
    "`/record/lost path frames` when the disk is too slow, `/record/continued path frames next` "
    "when the file has reached the largest size that it may have, and the recording continues in "
    "`next`, and `/record/failed path reason` when the file ends too early, all to subscribers too",
    scheduled=True,
)
def start(request: ServerRequest, path: str, what: tuple[str, ...]) -> None:
    """Record the master, or what is named, each to a file of its own.

    What is not the master adds to the file's name: `mix-deck-A.wav`, `mix-A-1-drums.wav`.
    Without a format the extension decides: `.wav` is wav24. A file that exists is never
    overwritten.
    """
    words = [word.lower() for word in what if word.lower() in FORMATS]
    if len(words) > 1:
        raise BadArgument(f"what: {' and '.join(words)} are two formats, say one")
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
        request, files, form, context_frame(request), _roots(request),
        request.core.settings.record_reserve << 20,
    )  # fmt: skip


@TABLE.add(
    "/record/stop",
    answers="`/done <address> path frames` for each file when it is finished",
    scheduled=True,
)
def stop(request: ServerRequest) -> None:
    """End the recording: it holds the frames up to this one."""
    request.core.recordings.stop(request, context_frame(request))


@TABLE.add(
    "/record/status",
    answers="`/record/status.reply files seconds lost path ...`: the number of files being "
    "recorded, their length, and the frames they have lost to a slow disk",
    asks=True,
    changes=False,
)
def status(request: ServerRequest) -> None:
    """Ask what is being recorded."""
    recordings = request.core.recordings
    request.reply("/record/status.reply", *recordings.readings().values(), *recordings.paths())
