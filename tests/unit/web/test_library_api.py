"""The library over HTTP: listings and searches, confined to the media folders."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
import unicodedata
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.requests import Request

from crowdstream.audiofile.duration import duration_seconds
from crowdstream.web import media_browser
from crowdstream.web.library_api import MAX_SORTED, LibraryApi, routes
from crowdstream.web.media_browser import MAX_FOUND
from tests.support.analyze_command import analyze_here
from tests.support.stem_folders import SPELLINGS, mixed, parts, put, put_all, song

RATE = 44100
MANY = 20_000
Result = TypeVar("Result")


def sound(path: Path, seconds: float = 1.0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * RATE), "f4"), RATE, **options)
    return path


def in_a_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run in a separate thread: this thread may have the event loop of a browser driver."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def ask(shelf: LibraryApi, where: str, **about: Any) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of a request."""
    return in_a_loop(asked(shelf, where, **about))


async def asked(
    shelf: LibraryApi, where: str, gone: threading.Event | None = None, **about: Any
) -> tuple[int, dict[str, Any]]:
    """The same; the client closes the connection when `gone` is set."""
    query = "&".join(f"{name}={_quoted(value)}" for name, value in about.items())

    async def receive() -> dict[str, str]:
        while gone is None or not gone.is_set():
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    scope = {"type": "http", "query_string": query.encode(), "headers": []}
    request = Request(scope, receive)
    answer = await (shelf.find if where == "search" else shelf.browse)(request)
    return answer.status_code, json.loads(bytes(answer.body))


def _quoted(value: Any) -> str:
    return "".join(f"%{byte:02x}" for byte in os.fsencode(str(value)))


def known(shelf: LibraryApi, where: str = "", **about: Any) -> dict[str, dict[str, Any]]:
    """The entries by name, once all tags are read."""
    for _ in range(4):  # a match by tempo may need its audio examined
        status, answer = ask(shelf, where, **about)
        if not answer["reading"]:
            break
        assert shelf.file_info.wait(120)
        shelf._searches.clear()  # results with unread files are otherwise reused for a second
    assert status == 200 and not answer["reading"]
    return {entry["name"]: entry for entry in answer["entries"]}


def names(answer: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in answer["entries"]]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A media folder: a track of stems, an album, a stray text file."""
    root = tmp_path / "media"
    for stem in ("drums", "bass", "vocals"):
        sound(root / "Night" / f"{stem}.wav", 2.0)
    (root / "Night" / "crowdstream.toml").write_text("[grid]\nbpm = 124.0\n")
    for number in (1, 2, 10):
        sound(root / "Album" / f"Part {number}.flac", number / 2)
    sound(root / "song.wav", 1.5)
    (root / "notes.txt").write_text("nothing")
    (root / ".hidden.wav").write_bytes(b"")
    return root


def test_a_folder_lists_folders_stem_tracks_and_files(media: Path) -> None:
    shelf = LibraryApi([media])
    entries = known(shelf)
    assert {name: entry["kind"] for name, entry in entries.items()} == {
        "Album": "folder", "Night": "track", "song.wav": "file",
    }  # fmt: skip
    night = entries["Night"]
    assert night["stems"] == ["drums", "bass", "vocals"]
    assert (night["bpm"], night["length"]) == (124.0, 2.0)
    assert night["full"] == str(media / "Night")
    assert entries["song.wav"]["length"] == 1.5
    _, inside = ask(shelf, "", path=entries["Album"]["path"])
    assert names(inside) == ["Part 1.flac", "Part 2.flac", "Part 10.flac"]


def test_rows_are_paged_and_sorted(media: Path) -> None:
    shelf = LibraryApi([media])
    album = {"path": "0/Album"}
    known(shelf, "", **album)
    _, page = ask(shelf, "", **album, offset=1, limit=1)
    assert names(page) == ["Part 2.flac"] and page["count"] == 3
    _, falling = ask(shelf, "", **album, order="down")
    assert names(falling) == ["Part 10.flac", "Part 2.flac", "Part 1.flac"]
    _, longest = ask(shelf, "", **album, sort="length", order="down")
    assert names(longest) == ["Part 10.flac", "Part 2.flac", "Part 1.flac"]
    assert ask(shelf, "", sort="colour")[0] == 400
    assert ask(shelf, "", offset="x")[0] == 400


def test_several_media_folders_form_the_top_level(media: Path, tmp_path: Path) -> None:
    other = sound(tmp_path / "other" / "b.wav").parent
    shelf = LibraryApi([media, other])
    _, top = ask(shelf, "")
    assert [(entry["name"], entry["path"]) for entry in top["entries"]] == [
        ("media", "0"), ("other", "1"),
    ]  # fmt: skip
    _, inside = ask(shelf, "", path="1")
    assert names(inside) == ["b.wav"] and inside["root"] == "other"


def test_without_media_folders_the_note_names_the_option() -> None:
    status, answer = ask(LibraryApi([]), "")
    assert status == 200 and answer["count"] == 0 and "--media-root" in answer["note"]


@pytest.mark.parametrize("path", [
    "0/..", "0/../secret", "0/Album/../../secret", "0//etc", "/etc", "7", "-1", "x", "0/nothing",
    "0/song.wav", "0/away", "0/a\0b", "0/" + "x/" * 3000, "²",
])  # fmt: skip
def test_paths_outside_the_media_folders_are_not_listed(
    media: Path, tmp_path: Path, path: str
) -> None:
    sound(tmp_path / "secret" / "hidden.wav")
    (media / "away").symlink_to(tmp_path / "secret")
    shelf = LibraryApi([media])
    status, answer = ask(shelf, "", path=path)
    assert status == 404 and "hidden" not in json.dumps(answer)
    assert "away" not in names(ask(shelf, "")[1])


def test_a_search_finds_all_words_in_the_path(media: Path, tmp_path: Path) -> None:
    outside = sound(tmp_path / "secret" / "night hidden.wav").parent
    (media / "away").symlink_to(outside)
    (media / "circle").symlink_to(media)
    shelf = LibraryApi([media])
    assert names(ask(shelf, "search", q="NIGHT")[1]) == ["Night"]
    assert names(ask(shelf, "search", q="night drums")[1]) == ["drums.wav"]
    assert names(ask(shelf, "search", q="part 1")[1]) == ["Part 1.flac", "Part 10.flac"]
    assert ask(shelf, "search", q="  ")[1]["count"] == 0
    assert ask(shelf, "search", q="hidden")[1]["count"] == 0


def test_a_search_by_tempo_and_key(media: Path) -> None:
    for name, bpm in (("Slow", 92.0), ("Fast", 173.6), ("Track 124", 100.0)):
        sidecar = sound(media / "Sets" / f"{name}.wav").with_suffix(".crowdstream.toml")
        sidecar.write_text(f"[grid]\nbpm = {bpm}\n")
    shelf = LibraryApi([media])
    first = ask(shelf, "search", q="120-126")[1]
    assert first["reading"], "it says that more may come"

    def found(query: str) -> list[str]:
        return list(known(shelf, "search", q=query))

    assert found("120-126") == ["Night"], "a track of stems once, and not its stems"
    assert found("124") == ["Night", "Track 124.wav"]
    assert found("bpm:124") == ["Night"]
    assert found("night 124") == ["Night"] and found("sets 124") == ["Track 124.wav"]
    assert found("174") == ["Fast.wav"] and found("fast 92") == []
    assert found(">90 sets") == ["Fast.wav", "Slow.wav", "Track 124.wav"]


def test_names_with_markup_or_control_characters_are_handled(media: Path) -> None:
    nasty = "<img src=x onerror=alert(1)>.wav"
    sound(media / nasty)
    (media / "line\nbreak.wav").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(media) + b"/\xff\xfe.wav")).write_bytes(b"")
    _, answer = ask(LibraryApi([media]), "")
    assert names(answer) == ["Album", "Night", nasty, "song.wav"]


def test_a_stem_whose_name_is_not_utf8_does_not_hide_its_folders_neighbours(media: Path) -> None:
    for stem in (b"drums", b"bass", b"t\xe4nze"):
        path = Path(os.fsdecode(os.fsencode(media / "Old") + b"/" + stem + b".wav"))
        path.parent.mkdir(exist_ok=True)
        shutil.copy(sound(media / "song.wav"), path)
    entries = known(LibraryApi([media]))
    assert {"Album", "Night", "Old", "song.wav"} <= set(entries)
    assert entries["Old"]["stems"] == ["drums", "bass", os.fsdecode(b"t\xe4nze")]


@pytest.mark.parametrize(
    "name", ["ideo\u3000graphic", "no\u00a0break", "family\U0001f468\u200d\U0001f469", "so\u00adft"]
)
def test_names_with_any_space_or_joiner_are_listed_and_found(media: Path, name: str) -> None:
    for stem in ("drums", "bass"):
        sound(media / name / f"{stem}.wav")
    sound(media / f"{name}.wav")
    entries = known(LibraryApi([media]))
    assert entries[name]["kind"] == "track" and entries[f"{name}.wav"]["kind"] == "file"
    _, found = ask(LibraryApi([media]), "search", q=name)
    assert {name, f"{name}.wav"} <= set(names(found))


def test_a_search_finds_either_spelling_of_an_accent(media: Path) -> None:
    for form, other in SPELLINGS:
        name = unicodedata.normalize(form, f"Café {form}.wav")
        sound(media / name)
        _, found = ask(
            LibraryApi([media]), "search", q=unicodedata.normalize(other, f"café {form}")
        )
        assert names(found) == [name]


def test_a_link_out_of_the_media_folders_is_reported_but_not_listed(
    media: Path, tmp_path: Path
) -> None:
    disk = sound(tmp_path / "disk" / "a.wav").parent
    (media / "disk").symlink_to(disk)
    (media / "a.wav").symlink_to(disk / "a.wav")
    (media / "list.txt").symlink_to(disk)
    _, answer = ask(LibraryApi([media]), "")
    assert not {"disk", "a.wav"} & set(names(answer))
    assert answer["note"].startswith("3 links lead outside the media folders")
    _, both = ask(LibraryApi([media, disk]), "", path="0")
    assert {"disk", "a.wav"} <= set(names(both)) and not both["note"]
    assert names(ask(LibraryApi([media, disk]), "", path="0/disk")[1]) == ["a.wav"]


def test_folders_are_classified_in_the_background(media: Path) -> None:
    for number, name in enumerate(("Keys", "Bass", "Drums")):
        put(media / "Songs" / f"{name}.wav", song(10.0 + 8 * number, number))
    sounds = parts()
    put(put_all(media / "Mixed", sounds) / "x.wav", mixed(sounds))
    put(media / "EP" / "Moon (Original Mix).wav", mixed(sounds))
    put(media / "EP" / "Moon (Instrumental).wav", mixed(sounds, "vocals"))
    (media / "Mixed" / "guitar.ofr").write_bytes(b"x")
    shelf = LibraryApi([media])
    assert ask(shelf, "")[1]["reading"]
    entries = known(shelf)
    kinds = {name: entries[name]["kind"] for name in ("Songs", "Mixed", "EP", "Night")}
    assert kinds == {"Songs": "folder", "Mixed": "track", "EP": "folder", "Night": "track"}
    assert entries["Mixed"]["stems"] == ["drums", "bass", "vocals", "other"]
    left_out = dict(line.split(": ", 1) for line in entries["Mixed"]["left_out"])
    assert set(left_out) == {"x.wav", "guitar.ofr"} and "sum of" in left_out["x.wav"]


def test_listing_twenty_thousand_files_does_not_block_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(MANY):
        os.close(os.open(tmp_path / f"track {number}.wav", os.O_CREAT | os.O_WRONLY))
    shelf = LibraryApi([tmp_path])

    begun, turned = threading.Event(), threading.Event()

    def listed(real: Path, roots: Sequence[Path]) -> media_browser.Listing:
        begun.set()
        assert turned.wait(60), "the event loop waits for the listing"
        return media_browser.list_folder(real, roots)

    async def listed_while_the_loop_turns() -> dict[str, Any]:
        asking = asyncio.create_task(asked(shelf, "", offset=MANY - 2, limit=200))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        turned.set()
        return (await asking)[1]

    monkeypatch.setattr("crowdstream.web.library_api.list_folder", listed)
    answer = in_a_loop(listed_while_the_loop_turns())
    monkeypatch.undo()
    assert answer["count"] == MANY
    assert names(answer) == [f"track {MANY - 2}.wav", f"track {MANY - 1}.wav"]
    _, found = ask(shelf, "search", q="track 1")
    assert found["count"] == MAX_FOUND and found["truncated"]
    _, unsorted = ask(shelf, "", sort="bpm", limit=3)
    assert names(unsorted)[0] == "track 0.wav" and str(MAX_SORTED) in unsorted["note"]


def test_too_many_concurrent_requests_get_503(media: Path) -> None:
    shelf = LibraryApi([media])

    async def many() -> list[int]:
        asked_for = [asked(shelf, "", path="0/Album") for _ in range(20)]
        return [status for status, _ in await asyncio.gather(*asked_for)]

    statuses = in_a_loop(many())
    assert set(statuses) == {200, 503}


def test_a_search_that_nobody_waits_for_ends_at_once(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = LibraryApi([media])
    searching = threading.Event()
    until = time.monotonic() + 60

    def walk(_roots: Sequence[Path]) -> Iterator[media_browser.Found]:
        while time.monotonic() < until:
            searching.set()
            time.sleep(0.001)
            yield media_browser.Found("0/other.wav", media / "other.wav", False)

    async def both() -> list[tuple[int, dict[str, Any]]]:
        first = asyncio.create_task(asked(shelf, "search", searching, q="x"))
        queued = asyncio.create_task(asked(shelf, "search", searching, q="y"))
        await asyncio.sleep(0)
        return [await asked(shelf, "", path="0"), await first, await queued]

    monkeypatch.setattr(media_browser, "SEARCH_SECONDS", 60.0)
    monkeypatch.setattr(media_browser, "_walk", walk)
    assert [status for status, _ in in_a_loop(both())] == [200, 503, 503]
    assert time.monotonic() < until
    monkeypatch.undo()
    assert ask(shelf, "search", q="x")[0] == 200


def test_a_file_that_changes_is_read_again(media: Path) -> None:
    shelf = LibraryApi([media])
    assert known(shelf)["song.wav"]["length"] == 1.5
    sound(media / "song.wav", 3.0)
    later = time.time() + 10
    os.utime(media / "song.wav", (later, later))
    assert known(shelf)["song.wav"]["length"] == 3.0


@pytest.mark.parametrize("name, options", [
    ("a.wav", {}), ("b.wav", {"format": "RF64"}), ("c.w64", {}), ("d.aiff", {}), ("e.flac", {}),
    ("f.ogg", {}), ("g.mp3", {}),
])  # fmt: skip
def test_lengths_from_headers(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = sound(tmp_path / name, 3.25, **options)
    length = duration_seconds(path)
    assert length is not None and abs(length - 3.25) < 0.08


def test_damaged_headers_have_no_length(tmp_path: Path) -> None:
    good = {name: sound(tmp_path / name, 1.0).read_bytes()
            for name in ("a.wav", "b.aiff", "c.flac", "d.ogg", "e.mp3")}  # fmt: skip
    random = np.random.default_rng(5)
    for name, data in good.items():
        for cut in (0, 3, 11, 20):
            (tmp_path / name).write_bytes(data[:cut])
            assert duration_seconds(tmp_path / name) is None
        for _ in range(200):
            broken = bytearray(data)
            for at in random.integers(0, min(len(broken), 200), 8):
                broken[at] = random.integers(256)
            (tmp_path / name).write_bytes(broken)
            length = duration_seconds(tmp_path / name)
            assert length is None or 0 < length < 1e7
    assert duration_seconds(tmp_path) is None
    os.mkfifo(tmp_path / "pipe.wav")
    assert duration_seconds(tmp_path / "pipe.wav") is None


def test_library_entries_take_precedence_over_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("crowdstream.web.file_info.LOOK_SECONDS", 0.0)
    media = tmp_path / "media"
    for name in ("drums", "bass"):
        sound(media / "song" / f"{name}.wav", 2.0)
    sound(media / "a.wav", 2.0)
    shelf = LibraryApi([media])
    assert known(shelf)["a.wav"]["bpm"] is None
    assert analyze_here("--quiet", media) == 0
    shown = known(shelf)  # also without a new LibraryApi
    assert [shown[name]["bpm"] for name in ("a.wav", "song")] == [120.0, 120.0]
    assert list(known(shelf, "search", q="120 Am song")) == ["song"]
    assert list(known(shelf, "search", q="8A")) == ["song", "a.wav"]
    assert shown["song"]["key"] == "8A" and shown["song"]["length"] == 2.0
    assert analyze_here("--quiet", "--set", "title=Mine", media / "a.wav") == 0
    assert known(shelf)["a.wav"]["title"] == "Mine"
    sound(media / "a.wav", 3.0)  # the file has changed since its analysis
    assert known(shelf)["a.wav"]["bpm"] is None
    # A destroyed library is ignored.
    (tmp_path / "crowdstream" / "library.db").write_bytes(b"rubbish" * 9999)
    assert known(LibraryApi([media]))["song"]["bpm"] is None


def test_a_library_that_takes_the_place_of_another_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("crowdstream.web.file_info.LOOK_SECONDS", 0.0)
    media = tmp_path / "media"
    sound(media / "a.wav", 2.0)
    shelf = LibraryApi([media])
    assert analyze_here("--quiet", media) == 0
    assert analyze_here("--quiet", "--set", "title=Mine", media / "a.wav") == 0
    assert known(shelf)["a.wav"]["title"] == "Mine"
    assert analyze_here("--quiet", "--new-library", media) == 0
    shown = known(shelf)["a.wav"]
    assert (shown["title"], shown["bpm"]) == ("", 120.0)


def test_the_routes(media: Path) -> None:
    settings = SimpleNamespace(media_root=[str(media)])
    shown: dict[str, Any] = {}
    live = SimpleNamespace(show=shown.__setitem__)
    made = routes(SimpleNamespace(settings=settings, at_end=[], live=live))
    assert shown["analysis"]["running"] == 0, "a page that stayed open shows no earlier job"
    assert {route.path for route in Starlette(routes=made).routes} == {  # type: ignore[attr-defined]
        "/library", "/library/search", "/library/analyse",
    }  # fmt: skip
