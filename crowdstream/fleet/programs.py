"""Run a program of this machine on behalf of a server, such as ssh or rsync."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from crowdstream.fleet.watched import plain
from crowdstream.system.process import without_secrets

MAX_OUTPUT_BYTES = 1 << 16
PROGRAM_SECONDS = 1800.0  # an upgrade may install a wheel first, and then watches its trial
END_SECONDS = 5.0


class Result(NamedTuple):
    """The exit status of a program, and the last line that it has printed."""

    status: int
    text: str


async def run_program(words: Sequence[str], seconds: float = PROGRAM_SECONDS) -> Result:
    """Run a program without a shell and without input; it is ended after `seconds`.

    A program that cannot be started has the status 127, one that was ended 124, as in a shell.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
            env=without_secrets(os.environ),
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return Result(127, f"{plain(words[0])}: {plain(error)}")
    last = b""
    try:
        async with asyncio.timeout(seconds):
            assert process.stdout is not None
            while part := await process.stdout.read(MAX_OUTPUT_BYTES):
                last = (last + part)[-MAX_OUTPUT_BYTES:]
            status = await process.wait()
    except TimeoutError:
        return Result(124, f"{plain(words[0])} did not end within {seconds:g} s")
    finally:
        await _end(process)
    lines = last.decode("utf-8", "replace").strip().splitlines()
    return Result(status, plain(lines[-1]) if lines else "")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
