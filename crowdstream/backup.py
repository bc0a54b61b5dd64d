"""`crowdstream backup` and `restore`: everything that can't be regenerated, in one file.

The archive is a gzip-compressed tar file. Its first member is a manifest, which names the others
with their sizes, checksums and places; the names of the others are numbers, so that an archive
can't name a place by itself. It contains the page's token, so only its owner may read it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import sqlite3
import stat
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import crowdstream
from crowdstream.library import default_path
from crowdstream.library.database import move_aside
from crowdstream.library.schema import SchemaTooNew, version_of
from crowdstream.settings import SettingError, Settings, resolve
from crowdstream.settings.errors import Parser
from crowdstream.settings.files import (
    TOKEN_FILE,
    home_folder,
    state_folder,
    token_folders,
    user_config_path,
)
from crowdstream.settings.types import ready_maps
from crowdstream.system.text import printable

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 10_000
MAX_FILE_BYTES = 64 << 20  # of a settings file or a set; the library may be larger
MAX_LIBRARY_BYTES = 16 << 30
CHUNK_BYTES = 1 << 20
LIBRARY, SETTINGS, TOKEN, OTHER = "library", "settings", "token", "other"
NAMED_FILES = ("schedule", "movement_map", "http_cert", "http_key", "broadcast_ca",
               "rooms_key_file", "config")  # fmt: skip
"""Settings that name files."""
LEARNED_MAPS = "midi-learned-*.toml"
"""Mappings that `/midi/learn` has written, in the folder of the state."""

WRONG_INPUT, FAILED = 2, 1


class BackupError(Exception):
    """A backup can't be made or restored; the message names the file, the reason and the remedy."""


@dataclass(frozen=True)
class Member:
    """A file of the archive.

    `kind`: where it belongs: the library, the folder of the settings (`path` is relative to it),
    the page's token, or another place (`path` is absolute).
    """

    name: str
    kind: str
    path: str
    size: int
    sha256: str
    mode: int

    @classmethod
    def of(cls, found: Any) -> Member:
        """Read an entry of a manifest. Raises `BackupError`."""
        try:
            made = cls(**found)
        except TypeError:
            raise BackupError("its manifest is damaged") from None
        values = [made.name, made.kind, made.path, made.sha256, made.size, made.mode]
        types = [str, str, str, str, int, int]
        if not all(isinstance(one, kind) for one, kind in zip(values, types, strict=True)):
            raise BackupError("its manifest is damaged")
        limit = MAX_LIBRARY_BYTES if made.kind == LIBRARY else MAX_FILE_BYTES
        known = made.kind in (LIBRARY, SETTINGS, TOKEN, OTHER)
        if not known or not 0 <= made.size <= limit or not made.name.isdecimal():
            raise BackupError("its manifest is damaged")
        return made


def build_backup_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream backup`."""
    parser = Parser(
        prog="crowdstream backup",
        description="Save library, corrections, settings, schedule and sets in one file.",
        epilog="See docs/how-to/upgrade-and-backup.md.",
    )
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="the archive to write, such as backup.tar.gz")
    add("--include", metavar="PATH", type=Path, action="append", default=[],
        help="also save this set, or the sets in this folder (may be repeated)")  # fmt: skip
    add("--config", metavar="FILE", type=Path, help="the server's settings file")
    add("--library", metavar="FILE", type=Path, help=f"library file ({default_path()})")
    add("--force", action="store_true", help="replace FILE if it exists")
    return parser


def build_restore_parser() -> argparse.ArgumentParser:
    """Return the argument parser of `crowdstream restore`."""
    parser = Parser(
        prog="crowdstream restore",
        description="Restore what crowdstream backup has saved; replaced files are kept.",
        epilog="See docs/how-to/upgrade-and-backup.md.",
    )
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="the archive")
    add("--yes", action="store_true", help="do not ask for confirmation")
    add("--check", action="store_true", help="check FILE, list its contents and change nothing")
    add("--library", metavar="FILE", type=Path, help=f"library file ({default_path()})")
    return parser


def backup(arguments: Sequence[str]) -> int:
    """Run `crowdstream backup` and return its exit status: 2 for bad input, 1 if it failed."""
    options = build_backup_parser().parse_args(arguments)
    try:
        config = ["--config", str(options.config)] if options.config else []
        settings = resolve(config, prog="crowdstream backup").settings
        members = save(
            options.file.expanduser(), settings, options.library, options.include, options.force
        )
    except (BackupError, SettingError) as error:
        print(f"crowdstream backup: {error}", file=sys.stderr)
        return WRONG_INPUT
    except OSError as error:
        print(f"crowdstream backup: {_reason(error, options.file)}", file=sys.stderr)
        return FAILED
    for member in members:
        print(f"{member.kind:8} {printable(member.path)} ({member.size} bytes)")
    secret = " It contains the page's token: keep it private." if any(
        member.kind == TOKEN or member.path == TOKEN_FILE for member in members
    ) else ""
    count = f"{len(members)} file{'s' if len(members) != 1 else ''}"
    print(f"saved {count} in {printable(options.file)}.{secret}")
    return 0


def restore(arguments: Sequence[str]) -> int:
    """Run `crowdstream restore` and return its exit status: 2 for bad input, 1 if it failed."""
    options = build_restore_parser().parse_args(arguments)
    try:
        with Archive(options.file.expanduser()) as archive:
            plan = Plan(archive, options.library)
            print(f"saved {archive.made} on {archive.host} by version {archive.version}")
            for line in plan.lines():
                print(line)
            if options.check:
                return 0
            if not options.yes and not _confirmed():
                print("nothing was changed")
                return FAILED
            for line in plan.carry_out():
                print(line)
    except BackupError as error:
        print(f"crowdstream restore: {printable(options.file)}: {error}", file=sys.stderr)
        return WRONG_INPUT
    except (OSError, sqlite3.Error) as error:
        print(f"crowdstream restore: {_reason(error, options.file)}", file=sys.stderr)
        return FAILED
    print("restored; a running server reads its settings when it is started the next time")
    return 0


def _confirmed() -> bool:
    try:
        return input("Restore these files? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{printable(error.filename or file)}: the disk is full; nothing was changed"
    if isinstance(error, OSError):
        return f"{printable(error.filename or file)}: {error.strerror or error}"
    return f"{printable(file)}: the library can't be restored: {error}"


# Saving ----------------------------------------------------------------------------------------


def save(
    file: Path, settings: Settings, library: Path | None = None, include: Sequence[Path] = (),
    force: bool = False,
) -> list[Member]:  # fmt: skip
    """Write a backup to `file`, completely or not at all; return what it contains.

    `library`: the library's file, by default the user's. Raises `BackupError` and `OSError`.
    """
    if file.exists() and not force:
        raise BackupError(f"{printable(file)} exists: name another file, or add --force")
    if not file.parent.is_dir():
        raise BackupError(f"{printable(file.parent)} is not a folder")
    sources = list(_sources(settings, include))
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".crowdstream-backup-") as name:
        folder = Path(name)
        place = library or default_path()
        copy = folder / "library.db"
        if place.exists():
            _copy_library(place, copy)
            sources.insert(0, (LIBRARY, place.name, copy))
        elif library is not None:
            raise BackupError(f"{printable(place)}: there is no library")
        if not sources:
            raise BackupError("there is nothing to save: neither a library nor settings")
        members = [
            _member(str(number), kind, path, source)
            for number, (kind, path, source) in enumerate(sources)
        ]
        part = folder / "archive"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
            _write(output, members, [source for _kind, _path, source in sources])
            output.flush()
            os.fsync(output.fileno())
        os.replace(part, file)
    return members


def _sources(settings: Settings, include: Sequence[Path]) -> Iterator[tuple[str, str, Path]]:
    # Kind, path and file of everything but the library.
    folder = user_config_path(os.environ).parent
    seen = set()
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith(".config.toml-"):
                seen.add(path.resolve())
                yield SETTINGS, path.relative_to(folder).as_posix(), path
    for place in token_folders(os.environ)[1:]:
        token = place / TOKEN_FILE
        if token.is_file() and token.resolve() not in seen:
            seen.add(token.resolve())
            yield TOKEN, TOKEN_FILE, token
            break
    named = [getattr(settings, name) for name in NAMED_FILES]
    named += [name for name in settings.midi_map if name not in ready_maps()]
    others = [Path(path).expanduser() for path in named if path is not None]
    others += sorted(state_folder(os.environ).glob(LEARNED_MAPS))
    for given in include:
        path = given.expanduser()
        if path.is_dir():
            others += sorted(path.rglob("*.toml"))
        elif path.is_file():
            others.append(path)
        else:
            raise BackupError(f"{printable(path)} is neither a set file nor a folder")
    for path in others:
        if path.is_file() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield OTHER, str(path.absolute()), path


def _copy_library(place: Path, copy: Path) -> None:
    # SQLite's own backup: safe while other processes write.
    try:
        with contextlib.closing(
            sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True)
        ) as source:
            version_of(source)
            with contextlib.closing(sqlite3.connect(copy)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
    except SchemaTooNew:
        raise BackupError(
            f"{printable(place)}: a newer version of CrowdStream has written this library: make "
            "the backup with that version"
        ) from None
    except sqlite3.Error as error:
        raise BackupError(f"{printable(place)}: the library can't be read: {error}") from None


def _member(name: str, kind: str, path: str, source: Path) -> Member:
    size, digest = 0, hashlib.sha256()
    with source.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        while chunk := file.read(CHUNK_BYTES):
            size += len(chunk)
            digest.update(chunk)
    if kind != LIBRARY and size > MAX_FILE_BYTES:
        raise BackupError(f"{printable(path)} has {size} bytes: it is not a settings or set file")
    mode = 0o600 if kind in (LIBRARY, TOKEN) else mode
    return Member(name, kind, path, size, digest.hexdigest(), mode)


def _write(output: IO[bytes], members: Sequence[Member], sources: Sequence[Path]) -> None:
    manifest = {
        "format": FORMAT, "version": crowdstream.__version__, "host": socket.gethostname(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": [asdict(member) for member in members],
    }  # fmt: skip
    data = json.dumps(manifest, indent=1).encode()
    with tarfile.open(fileobj=output, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        head = tarfile.TarInfo(MANIFEST)
        head.size, head.mode, head.mtime = len(data), 0o600, int(time.time())
        archive.addfile(head, io.BytesIO(data))
        for member, source in zip(members, sources, strict=True):
            entry = tarfile.TarInfo(member.name)
            entry.size, entry.mode = member.size, member.mode
            with source.open("rb") as file:
                archive.addfile(entry, file)


# Restoring -------------------------------------------------------------------------------------


class Archive:
    """An archive whose contents have been checked, unpacked to a temporary folder.

    Raises `BackupError` if it is not a backup, damaged, or of a newer version.
    """

    def __init__(self, file: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="crowdstream-restore-")
        self.members: list[Member] = []
        self.version = self.made = self.host = ""
        try:
            self._read(file)
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError, RecursionError) as error:
            self._folder.cleanup()
            raise BackupError(f"it is not a backup, or it is damaged ({error})") from None
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_error: object) -> None:
        self._folder.cleanup()

    def path(self, member: Member) -> Path:
        """The unpacked file of a member."""
        return Path(self._folder.name) / member.name

    def _read(self, file: Path) -> None:
        try:
            opened = file.open("rb")
        except OSError as error:
            raise BackupError(f"it can't be read: {error.strerror}") from None
        # A stream, so that nothing is unpacked before the manifest that names it has been read.
        with opened, tarfile.open(fileobj=opened, mode="r|gz") as archive:
            waiting: dict[str, Member] = {}
            first = True
            for entry in archive:
                if not entry.isreg():
                    raise BackupError(f"{printable(entry.name)} in it is not a file")
                data = archive.extractfile(entry)
                assert data is not None
                if first:
                    if entry.name != MANIFEST or entry.size > MAX_MANIFEST_BYTES:
                        raise BackupError("it is not a backup of CrowdStream")
                    self._read_manifest(json.loads(data.read()))
                    waiting, first = {one.name: one for one in self.members}, False
                    self._check_room()
                    continue
                member = waiting.pop(entry.name, None)
                if member is None or entry.size != member.size:
                    raise BackupError(f"its manifest does not name {printable(entry.name)}")
                self._unpack(member, data)
        if first or waiting:
            raise BackupError("it is incomplete")
        for member in self.members:
            if member.kind == LIBRARY:
                _check_library(self.path(member))

    def _read_manifest(self, found: Any) -> None:
        if not isinstance(found, dict) or not isinstance(found.get("format"), int):
            raise BackupError("it is not a backup of CrowdStream")
        if found["format"] > FORMAT:
            raise BackupError(
                f"version {printable(str(found.get('version')))} has written it, in a format that "
                "this version does not know: restore it with that version"
            )
        files = found.get("files")
        if not isinstance(files, list) or len(files) > MAX_FILES:
            raise BackupError("its manifest is damaged")
        self.members = [Member.of(one) for one in files]
        names = {one.name for one in self.members}
        libraries = sum(one.kind == LIBRARY for one in self.members)
        if len(names) != len(self.members) or libraries > 1:
            raise BackupError("its manifest is damaged")
        self.version, self.made, self.host = (
            printable(str(found.get(name, "")))[:100] for name in ("version", "made", "host")
        )

    def _check_room(self) -> None:
        needed = sum(member.size for member in self.members)
        free = shutil.disk_usage(self._folder.name).free
        if needed > free:
            raise BackupError(
                f"{self._folder.name} has {free >> 20} MB free, and it needs {needed >> 20} MB: "
                "make room there, or set TMPDIR to another folder"
            )

    def _unpack(self, member: Member, data: IO[bytes]) -> None:
        digest = hashlib.sha256()
        target = os.open(self.path(member), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(target, "wb") as file:
            while chunk := data.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != member.sha256:
            raise BackupError(f"{printable(member.path)} in it is damaged")


def _check_library(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            version = version_of(database)
            (state,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    except SchemaTooNew:
        raise BackupError(
            "a newer version of CrowdStream has written its library: restore it with that version"
        ) from None
    except sqlite3.Error as error:
        raise BackupError(f"its library is damaged: {error}") from None
    if not version or state != "ok":
        raise BackupError(f"its library is damaged: {state}")


@dataclass(frozen=True)
class Step:
    """One file to restore. `moved`: it goes to another place than it was saved from."""

    member: Member
    target: Path
    moved: bool = False


class Plan:
    """Where the files of an archive go. Raises `BackupError` for a place outside."""

    def __init__(self, archive: Archive, library: Path | None = None) -> None:
        self._archive = archive
        self._library = library or default_path()
        self._settings = user_config_path(os.environ).parent
        self.steps = self._distinct([self._step(member) for member in archive.members])
        targets = [step.target for step in self.steps]
        if len(set(targets)) != len(targets):
            raise BackupError("its manifest names a place twice")

    def _distinct(self, steps: Sequence[Step]) -> list[Step]:
        # Files of the same name, from several folders, meet in the folder of moved ones.
        taken = {step.target for step in steps if not step.moved}
        last: dict[Path, int] = {}
        found = []
        for step in steps:
            target = step.target
            while step.moved and target in taken:
                number = last[step.target] = last.get(step.target, 1) + 1
                target = step.target.with_name(f"{step.target.stem}-{number}{step.target.suffix}")
            if step.moved:
                taken.add(target)
            found.append(Step(step.member, target, step.moved))
        return found

    def _step(self, member: Member) -> Step:
        if member.kind == LIBRARY:
            return Step(member, self._library)
        if member.kind == TOKEN:
            return Step(member, token_folders(os.environ)[-1] / TOKEN_FILE)
        if member.kind == SETTINGS:
            relative = PurePosixPath(member.path)
            if relative.is_absolute() or ".." in relative.parts or not relative.parts:
                raise BackupError(f"{printable(member.path)} in it lies outside the settings")
            return Step(member, self._settings / relative)
        return self._other(member)

    def _other(self, member: Member) -> Step:
        # To its old place only if that is a TOML file in the user's home, outside of the hidden
        # folders that other programs keep there: an archive may be somebody else's.
        path, home = Path(member.path), home_folder(os.environ)
        inside = path.is_absolute() and path.is_relative_to(home) and ".." not in path.parts
        plain = inside and not any(part.startswith(".") for part in path.relative_to(home).parts)
        if plain and path.suffix == ".toml" and path.parent.resolve() == path.parent:
            return Step(member, path)
        if path.name in ("", "..") or "\0" in path.name:
            raise BackupError("its manifest is damaged")
        return Step(member, self._settings / "restored" / path.name, moved=True)

    def lines(self) -> list[str]:
        """One line for each file: what it is, and where it goes."""
        return [
            f"{step.member.kind:8} {printable(step.target)}"
            + (f" (was {printable(step.member.path)})" if step.moved else "")
            + (" replaces the present one" if step.target.exists() else "")
            for step in self.steps
        ]

    def carry_out(self) -> list[str]:
        """Restore all files, or none; return a line for each file that was kept aside.

        The library is copied by SQLite, so processes that have it open see its new contents.
        Raises `OSError`, `sqlite3.Error` and `BackupError`.
        """
        stamp = time.strftime("%Y%m%d-%H%M%S")
        parts: list[tuple[Path, Path]] = []
        kept: list[tuple[Path, Path]] = []
        done: list[Path] = []
        lines = []
        try:
            for step in self.steps:
                if step.member.kind != LIBRARY:
                    parts.append((self._write(step), step.target))
            for part, target in parts:
                if target.exists():
                    aside = target.with_name(f"{target.name}.old-{stamp}")
                    os.link(target, aside)
                    kept.append((target, aside))
                os.replace(part, target)
                done.append(target)
            for step in self.steps:  # last: it is restored completely or not at all
                if step.member.kind == LIBRARY:
                    lines += self._restore_library(self._archive.path(step.member), stamp)
        except BaseException:
            for part, _target in parts:
                part.unlink(missing_ok=True)
            for target, aside in kept:
                os.replace(aside, target)
                aside.unlink(missing_ok=True)  # renaming does nothing if both are the same file
            for target in set(done) - {target for target, _aside in kept}:
                target.unlink(missing_ok=True)
            raise
        return lines + [f"kept {printable(aside)}" for _target, aside in kept]

    def _write(self, step: Step) -> Path:
        # The new file beside its place, for renaming.
        step.target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=step.target.parent, prefix=f".{step.target.name}-")
        part = Path(name)
        try:
            with open(handle, "wb") as file, self._archive.path(step.member).open("rb") as source:
                shutil.copyfileobj(source, file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, step.member.mode & 0o777 & ~0o022)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return part

    def _restore_library(self, source: Path, stamp: str) -> list[str]:
        place = self._library
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside, moved = place.with_name(f"{place.name}.old-{stamp}"), None
        there = place.exists()
        if there:
            try:
                _copy_library(place, aside)
            except BackupError:  # damaged, of a newer version, or there is no room for a copy
                aside.unlink(missing_ok=True)
                moved = move_aside(place)
        try:
            with (
                contextlib.closing(sqlite3.connect(source)) as saved,
                contextlib.closing(sqlite3.connect(place, timeout=60.0)) as present,
            ):
                saved.backup(present)
        except sqlite3.Error:
            if moved is not None:
                for ending in ("-wal", "-shm", ""):
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(f"{moved}{ending}", f"{place}{ending}")
            elif there:
                aside.unlink(missing_ok=True)
            else:
                place.unlink(missing_ok=True)
            raise
        return [f"kept {printable(moved or aside)}"] if there else []
