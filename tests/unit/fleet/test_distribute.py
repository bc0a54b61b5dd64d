"""Distribution of settings, schedules and libraries through shared folders."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from crowdstream.fleet.commands import Outcome
from crowdstream.fleet.distribute import (
    check_source,
    copy_folder,
    distribute,
    replace_file,
    restore_file,
)
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.members import FleetError
from tests.support.fake_member import fake_members


def test_a_refusal_restores_the_file_and_stops_the_distribution(tmp_path: Path) -> None:
    source = tmp_path / "hours.toml"
    source.write_text("new")

    async def scene() -> None:
        async with fake_members(0.0, 0.0, 0.0) as fakes:
            members = []
            for number, fake in enumerate(fakes):
                (tmp_path / str(number)).mkdir()
                target = tmp_path / str(number) / "schedule.toml"
                target.write_text("old")
                members.append(fake.member(f"s{number}", targets={"schedule": str(target)}))
            fakes[1].fails["/schedule/reload"] = "no such weekday"
            async with Fleet(members) as fleet:
                await fleet.contact(60.0)
                said: list[Outcome] = []
                outcomes = await distribute(fleet.servers, "schedule", source, said.append)
                assert outcomes == said and [one.ok for one in outcomes] == [True, False, False]
                assert "no such weekday" in outcomes[1].text and "restor" in outcomes[1].text
                assert outcomes[2].text == "unchanged, because s1 failed"
                assert not fakes[2].received
                assert [address for _, address, _ in fakes[0].received] == ["/schedule/reload"]

    asyncio.run(scene())
    texts = [(tmp_path / str(number) / "schedule.toml").read_text() for number in range(3)]
    assert texts == ["new", "old", "old"]


def test_a_target_that_is_not_mounted_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "music"
    source.mkdir()

    async def scene() -> None:
        async with fake_members(0.0) as [fake]:
            member = fake.member("main", targets={"library": str(tmp_path / "not mounted")})
            async with Fleet([member]) as fleet:
                await fleet.contact(60.0)
                [outcome] = await distribute(fleet.servers, "library", source)
                assert not outcome.ok and "is it mounted?" in outcome.text

    asyncio.run(scene())
    assert not (tmp_path / "not mounted").exists()


def test_a_folder_is_copied_without_links_and_only_where_it_differs(tmp_path: Path) -> None:
    source, target = tmp_path / "music", tmp_path / "there"
    (source / "night").mkdir(parents=True)
    target.mkdir()
    (source / "a.wav").write_bytes(b"a" * 1000)
    (source / "night" / "b.wav").write_bytes(b"b")
    (source / "link.wav").symlink_to("/etc/hostname")
    (target / "kept.wav").write_bytes(b"k")
    assert copy_folder(source, target) == 2
    assert copy_folder(source, target) == 0
    (source / "a.wav").write_bytes(b"c" * 1000)
    assert copy_folder(source, target) == 1
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert found == ["a.wav", "kept.wav", "night/b.wav"]
    assert (target / "a.wav").read_bytes() == b"c" * 1000


def test_a_file_is_replaced_and_restored(tmp_path: Path) -> None:
    target = tmp_path / "x.toml"
    assert replace_file(b"one", target) is None
    os.chmod(target, 0o640)
    previous = replace_file(b"two", target)
    assert previous == b"one" and target.stat().st_mode & 0o777 == 0o640
    restore_file(previous, target)
    assert target.read_bytes() == b"one"
    restore_file(None, target)
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match="No such file"):
        replace_file(b"x", tmp_path / "none" / "x.toml")


def test_wrong_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for content, path, reason in (
        ("music", tmp_path, "must be one of"),
        ("library", tmp_path / "file", "is a folder"),
        ("settings", tmp_path, "must be a file"),
        ("schedule", tmp_path / "none", "No such file"),
        ("settings", Path("/dev/zero"), "must be a file"),
    ):
        with pytest.raises(FleetError, match=reason):
            check_source(content, path)
