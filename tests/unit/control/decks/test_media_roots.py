"""With media folders, nothing outside of them is loaded, read as a sidecar, or recorded to."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from crowdstream.audiofile.stems.track_files import check_media_root
from crowdstream.system.medium import MediumGuard
from tests.support.offline_server import Rig, level, write
from tests.support.server import until
from tests.unit.control.processes.test_recorder import InProcess, closed

SIDECAR = "[grid]\nbpm = 100.0\n"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The media folder, and a folder outside of it."""
    media, secret = tmp_path / "media", tmp_path / "secret"
    for folder in (media / "set", secret / "set"):
        folder.mkdir(parents=True)
        write(folder / "a.wav", level(0.5))
    return media, secret


@pytest.fixture
def rig(folders: tuple[Path, Path]) -> Iterator[Rig]:
    made = Rig(media_root=[folders[0]])
    made.core.recordings.launch = InProcess
    yield made
    made.core.recordings.close()
    made.close()


def swap(media: Path, secret: Path) -> None:
    """Replace a media folder by a link to a folder outside."""
    (media / "set").rename(media / "gone")
    (media / "set").symlink_to(secret / "set")


@pytest.mark.parametrize("command", ["/deck/A/load", "/record/start"])
def test_a_file_on_a_medium_that_hangs_is_refused_in_time(
    rig: Rig, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    answers = threading.Event()

    def check(path: Path, roots: Sequence[Path]) -> Path:
        answers.wait(10)
        return check_media_root(path, roots)

    for module in ("decks.track_table", "handlers.record"):
        monkeypatch.setattr(f"crowdstream.control.{module}.check_media_root", check)
    monkeypatch.setattr("crowdstream.system.medium.PATIENCE_SECONDS", 0.02)
    rig.core.track_table.bound = MediumGuard().run
    path = str(folders[0] / "set" / "a.wav")
    try:
        rig.send(command, path)
        [failure] = rig.fails()
        assert failure.endswith(f"{path}: its medium does not answer")
        assert not rig.requests
    finally:
        answers.set()


def test_a_link_that_is_swapped_in_before_opening_is_not_followed(
    rig: Rig, folders: tuple[Path, Path]
) -> None:
    media, secret = folders
    rig.send("/deck/A/load", str(media / "set" / "a.wav"))
    assert rig.requests and not rig.fails(), "control has accepted the path"
    swap(media, secret)
    rig.run(512)
    [failure] = rig.fails()
    assert failure.endswith("a.wav: it lies outside the media folders")
    assert rig.status()["deck.A.state"] == "empty"


@pytest.mark.parametrize("name", ["set.crowdstream.toml", "crowdstream.toml"])
def test_a_sidecar_that_links_outside_is_not_read(
    rig: Rig, folders: tuple[Path, Path], name: str
) -> None:
    media, secret = folders
    (secret / "grid").write_text(SIDECAR)
    write(media / "set.wav", level(0.5))
    (media / name).symlink_to(secret / "grid")
    rig.send("/deck/A/load", str(media / "set.wav"))
    rig.run(512)
    assert rig.status()["deck.A.grid"] == ""
    [(_buffer, fault)] = rig.heard("/grid/fault")
    assert "outside the allowed folders" in fault
    (media / name).unlink()
    (media / name).write_text(SIDECAR)
    rig.send("/deck/A/load", str(media / "set.wav"))
    rig.run(512)
    assert (rig.status()["deck.A.grid"], rig.status()["deck.A.bpm"]) == ("sidecar", 100.0)


def test_a_sidecar_that_is_a_pipe_does_not_block(rig: Rig, folders: tuple[Path, Path]) -> None:
    os.mkfifo(folders[0] / "set" / "a.crowdstream.toml")
    rig.send("/deck/A/load", str(folders[0] / "set" / "a.wav"))
    rig.run(512)
    assert rig.status()["deck.A.state"] == "ready"
    assert len(rig.heard("/grid/fault")) == 1


def test_a_folder_outside_is_not_listed(rig: Rig, folders: tuple[Path, Path]) -> None:
    media, secret = folders
    (media / "way").symlink_to(secret)
    (media / "some").mkdir()
    (media / "some" / "drums.wav").symlink_to(secret / "set" / "a.wav")
    write(media / "some" / "bass.wav", level(0.5))
    for path in (secret, secret / "set", secret / "none", media / "way", media / "way" / "none",
                 media / "way/set/a.wav", media / "some"):  # fmt: skip
        rig.send("/deck/A/load", str(path))
    assert len(rig.fails()) == 7
    assert all("outside the media folders" in failure for failure in rig.fails()), (
        "the error must not reveal whether the file exists"
    )
    assert not rig.requests


def test_tracks_loaded_at_the_start_are_restricted_too(folders: tuple[Path, Path]) -> None:
    made = Rig(media_root=[folders[0]], a=folders[1] / "set" / "a.wav")
    try:
        made.run(256)
        assert made.status()["deck.A.state"] == "empty"
    finally:
        made.close()


def test_a_recording_does_not_follow_a_link_outside(rig: Rig, folders: tuple[Path, Path]) -> None:
    media, secret = folders
    (media / "way").symlink_to(secret / "set")
    (media / "b.wav").symlink_to(secret / "b.wav")
    for name in ("way/b.wav", "b.wav", "../secret/b.wav"):
        rig.send("/record/start", str(media / name))
        assert "outside the media folders" in rig.fails()[-1]
    assert len(rig.fails()) == 3


def test_a_recording_does_not_follow_a_link_made_after_the_command(
    folders: tuple[Path, Path], rig: Rig
) -> None:
    media, secret = folders

    class Late(InProcess):
        def send(self, message: dict[str, object]) -> None:
            if not (media / "gone").exists():
                swap(media, secret)
            super().send(message)

    rig.core.recordings.launch = Late
    rig.send("/record/start", str(media / "set" / "b.wav"))

    def failed() -> bool:
        rig.step()
        return bool(rig.fails())

    until(failed)
    assert "outside the folders for recordings" in rig.fails()[0]
    assert os.listdir(secret / "set") == ["a.wav"]
    rig.send("/record/start", str(media / "gone" / "b.wav"))
    rig.run(2048)
    rig.send("/record/stop")
    closed(rig)
    assert (media / "gone" / "b.wav").exists()
