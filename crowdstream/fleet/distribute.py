"""Distribute settings, schedules and libraries.

The servers' HTTP interface accepts commands and no files. So a file reaches a server through a
folder that both machines have mounted, or by a program such as rsync; which one, and where to, is
configured for each server. Then the server reads it again. If it refuses the new file, the previous
one is restored, and the servers that follow keep theirs.
"""

from __future__ import annotations

import asyncio
import filecmp
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from crowdstream.client import ClientError
from crowdstream.fleet.commands import Outcome
from crowdstream.fleet.members import CONTENTS, FleetError, Member
from crowdstream.fleet.programs import run_program
from crowdstream.fleet.watched import Watched, plain
from crowdstream.system.replace_file import replace_file as write_over
from crowdstream.system.text import printable

RELOADS = {"settings": "/settings/reload", "schedule": "/schedule/reload"}
MAX_FILE_BYTES = 1 << 20

Say = Callable[[Outcome], None]


def check_source(content: str, source: Path) -> None:
    """Raise `FleetError` if `source` cannot be distributed as `content`."""
    if content not in CONTENTS:
        raise FleetError(f"{printable(content)}: must be one of {', '.join(CONTENTS)}")
    try:
        kind = source.stat()
    except OSError as error:
        raise FleetError(f"{printable(source)}: {error.strerror or error}") from None
    if content == "library":
        if not stat.S_ISDIR(kind.st_mode):
            raise FleetError(f"{printable(source)}: a library is a folder")
    elif not stat.S_ISREG(kind.st_mode):
        raise FleetError(f"{printable(source)}: must be a file")
    elif kind.st_size > MAX_FILE_BYTES:
        raise FleetError(f"{printable(source)}: has more than {MAX_FILE_BYTES} bytes")


def missing(content: str, member: Member) -> str:
    """Return why a server is not offered this content; an empty text if it is."""
    if content not in member.targets:
        return f"not offered: the fleet's file has no {content} path for this server"
    return ""


async def distribute(
    servers: Sequence[Watched], content: str, source: Path, say: Say = lambda _outcome: None
) -> list[Outcome]:
    """Distribute to one server after the other, until one refuses.

    Each outcome is passed to `say` at once. Raises `FleetError` for a wrong source.
    """
    check_source(content, source)
    outcomes: list[Outcome] = []
    stopped = ""
    for server in servers:
        name = server.member.name
        if text := missing(content, server.member):
            outcome = Outcome(name, False, text)
        elif stopped:
            outcome = Outcome(name, False, f"unchanged, because {stopped} failed")
        else:
            outcome = await _to_one(server, content, source)
            stopped = "" if outcome.ok else name
        outcomes.append(outcome)
        say(outcome)
    return outcomes


async def _to_one(server: Watched, content: str, source: Path) -> Outcome:
    member, target = server.member, Path(server.member.targets[content])
    if not server.answers:
        return Outcome(member.name, False, f"does not answer: {server.trouble}")
    previous: bytes | None = None
    if member.copy:
        # rsync copies the contents of a folder whose name ends in a slash.
        slash = "/" if content == "library" else ""
        words = member.filled(
            member.copy, source=f"{source.absolute()}{slash}", target=f"{target}{slash}",
            path=str(source.absolute()),
        )  # fmt: skip
        result = await run_program(words)
        if result.status:
            text = f"{plain(words[0])} failed ({result.status}): {result.text}"
            return Outcome(member.name, False, text)
        done = "copied"
    else:
        try:
            if content == "library":
                number = await asyncio.to_thread(copy_folder, source, target)
                return Outcome(member.name, True, f"{number} files copied")
            previous = await asyncio.to_thread(replace_file, source.read_bytes(), target)
        except OSError as error:
            return Outcome(member.name, False, f"{printable(target)}: {error.strerror or error}")
        done = "copied"
    if content not in RELOADS:
        return Outcome(member.name, True, done)
    try:
        values = await _reload(server, content)
    except (ClientError, OSError) as error:
        text = f"refused: {plain(error)}"
        if member.copy:
            return Outcome(member.name, False, f"{text}; the new file is in place")
        try:
            await asyncio.to_thread(restore_file, previous, target)
            await _reload(server, content)
        except (ClientError, OSError) as again:
            return Outcome(member.name, False, f"{text}; restoring failed: {plain(again)}")
        return Outcome(member.name, False, f"{text}; the previous file was restored")
    return Outcome(member.name, True, _describe(content, values))


async def _reload(server: Watched, content: str) -> tuple[object, ...]:
    async with server.client() as client:
        return await client.call(RELOADS[content])


def _describe(content: str, values: tuple[object, ...]) -> str:
    if content != "settings" or len(values) < 2:
        return "reloaded"
    applied, restart = (plain(value) for value in values[:2])
    text = f"applied: {applied}" if applied else "nothing has changed"
    return f"{text}; after a restart: {restart}" if restart else text


# Files -------------------------------------------------------------------------------------------


def replace_file(data: bytes, target: Path) -> bytes | None:
    """Replace a file atomically; return its previous contents, or None if there was none.

    Its folder must exist: a folder that is not mounted must not be created. Raises `OSError`.
    """
    try:
        previous: bytes | None = target.read_bytes()
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        previous, mode = None, 0o644
    write_over(target, data, mode)
    return previous


def restore_file(previous: bytes | None, target: Path) -> None:
    """Undo `replace_file`. Raises `OSError`."""
    if previous is None:
        target.unlink(missing_ok=True)
    else:
        replace_file(previous, target)


def copy_folder(source: Path, target: Path) -> int:
    """Copy new and changed files to an existing folder; return their number.

    Nothing is deleted, links are not followed. Each file appears complete under its name. Raises
    `OSError`, also if `target` does not exist: it may not be mounted.
    """
    if not target.is_dir():
        raise FileNotFoundError(2, "there is no such folder; is it mounted?", str(target))
    number = 0
    for folder, _folders, names in os.walk(source):
        here = target / Path(folder).relative_to(source)
        for name in sorted(names):
            origin, copied = Path(folder) / name, here / name
            if origin.is_symlink() or not origin.is_file() or _same(origin, copied):
                continue
            here.mkdir(parents=True, exist_ok=True)
            part = here / f".{name[:100]}.part"
            try:
                shutil.copy2(origin, part)
                os.replace(part, copied)
            finally:
                part.unlink(missing_ok=True)
            number += 1
    return number


def _same(origin: Path, copied: Path) -> bool:
    # Same type, size and time of change; otherwise the contents are compared.
    try:
        return filecmp.cmp(origin, copied)
    except OSError:
        return False
