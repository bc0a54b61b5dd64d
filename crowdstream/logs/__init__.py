"""Logging to standard error and to a file, without ever blocking the thread that logs.

    set_up(settings)          # once in each process that logs

Each target (standard error, the log file) has a queue and a thread of its own. The logging thread
only puts a line into the queues, so that neither a full pipe nor a stalled card blocks it. Queues
are limited; dropped lines are counted and reported.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping

from crowdstream.logs.async_handler import AsyncHandler
from crowdstream.logs.formatters import JournalFormatter, JsonFormatter, TextFormatter
from crowdstream.logs.rotating_file import LogFile
from crowdstream.settings import Settings

__all__ = ["end", "fatal", "set_up"]

STDERR = 2

_setting_up = threading.Lock()


def set_up(settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Log to standard error and, if `log_file` is set, to a file as well.

    May be called again: each line then goes to either the earlier or the new handlers, and the
    earlier ones are closed, which may take a second or two. Never fails: if the log file can't be
    written, this is reported on standard error, once.
    """
    with _setting_up:
        _set_up(settings, environ)


def _set_up(settings: Settings, environ: Mapping[str, str]) -> None:
    root = logging.getLogger()
    earlier = _handlers()
    made: list[logging.Handler] = [h for h in root.handlers if h not in earlier]
    json = settings.log_format == "json"
    journal = under_journal(environ)
    stderr = AsyncHandler(_to_stderr, to_person=not json and not journal)
    if journal:
        stderr.setFormatter(JournalFormatter(JsonFormatter() if json else None))
    else:
        stderr.setFormatter(JsonFormatter() if json else TextFormatter())
    made.append(stderr)
    if settings.log_file is not None:
        file = LogFile(settings.log_file, stderr.report)
        handler = AsyncHandler(file.write, file.close, to_file=True)
        handler.setFormatter(JsonFormatter() if json else TextFormatter())
        made.append(handler)
    root.handlers = made
    root.setLevel(settings.log_level.upper())
    for one in earlier:
        one.close()


def end() -> None:
    """Undo `set_up`: write queued lines, within a second or two, and close threads and files.

    Not needed at the end of the process.
    """
    root = logging.getLogger()
    for handler in _handlers():
        root.removeHandler(handler)
        handler.close()


def _handlers() -> list[AsyncHandler]:
    return [h for h in logging.getLogger().handlers if isinstance(h, AsyncHandler)]


def fatal(text: str) -> None:
    """Report why the program ends.

    The log file and the journal receive an error record, as JSON if that is configured; a person
    at a terminal reads one plain line.
    """
    record = logging.LogRecord("crowdstream", logging.ERROR, "", 0, text, None, None)
    plain = True
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, AsyncHandler):
            continue
        if handler.to_person:
            handler.flush()  # earlier lines come first
        else:
            handler.handle(record)
            plain = plain and handler.to_file
    if plain:
        print(f"crowdstream: {text}", file=sys.stderr)


def under_journal(environ: Mapping[str, str], fd: int = STDERR) -> bool:
    """Whether `fd` leads to systemd's journal, which records time and priority itself."""
    try:
        device, inode = environ.get("JOURNAL_STREAM", "").split(":")
        status = os.fstat(fd)
        return (status.st_dev, status.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


def _to_stderr(line: bytes) -> None:
    try:
        while line:
            line = line[os.write(STDERR, line) :]
    except OSError:
        return  # standard error is closed
