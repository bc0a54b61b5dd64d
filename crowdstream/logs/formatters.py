"""Formats of log lines: text, text for systemd's journal, JSON."""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime
from typing import Any

MAX_TEXT = 8000  # characters of a message; longer ones, such as with long file names, are cut
BEGINNING = 0.25  # share of a text that is cut

# Syslog priorities, which systemd's journal reads at the beginning of a line.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


def shortened(text: str, limit: int = MAX_TEXT) -> str:
    """Cut a text in its middle to about `limit` characters: a traceback ends with the error."""
    if len(text) <= limit:
        return text
    beginning = round(BEGINNING * limit)
    return text[:beginning] + " ... " + text[beginning - limit :]


class TextFormatter(logging.Formatter):
    """`2026-11-21 22:04:05,123 INFO message`."""

    def __init__(self, form: str = "%(asctime)s %(levelname)s %(message)s") -> None:
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as text; several lines if it has a traceback."""
        return shortened(super().format(record))


class JournalFormatter(logging.Formatter):
    """Prefixes each line with a priority and omits the time, which the journal records itself."""

    def __init__(self, inner: logging.Formatter | None = None) -> None:
        super().__init__()
        self._inner = inner or TextFormatter("%(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as text, with the priority in each of its lines."""
        number = next(n for level, n in _PRIORITIES if record.levelno >= level)
        lines = self._inner.format(record).split("\n")
        return "\n".join(f"<{number}>{line}" for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object per line.

    `time` (ISO 8601 in UTC, milliseconds), `level`, `logger`, `process` (its number), `message`;
    `data`, an object with the message's values if there are any (`extra={"data": ...}`);
    `error`, a traceback, if there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a JSON object without a line break."""
        time = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": _text(shortened(record.getMessage())),
        }
        if data := getattr(record, "data", None):
            said["data"] = _plain(data)
        if record.exc_info:
            said["error"] = _text(shortened(self.formatException(record.exc_info)))
        return json.dumps(said, ensure_ascii=False, allow_nan=False)


def _text(text: str) -> str:
    # File names may contain any bytes, JSON may not.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    """Convert a value for JSON: numpy numbers to Python numbers, infinities to null."""
    if isinstance(value, dict):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return _text(str(value))[:MAX_TEXT]
