"""What lies in a sidecar: what a person wrote, and below it what `crowdstream analyze` has found.

The part that was found stands between two marks and is written anew each time. The first mark
holds a checksum: where a line below it was changed by hand, all of the part counts as written by
a person from then on.
"""

from __future__ import annotations

import hashlib
import re

BEGIN = "# --- found by crowdstream analyze"
END = "# --- end of what was found ---"
# Possessive, and without a bracket before the checksum: there is one way to match, or none.
_BEGIN_LINE = re.compile(
    r"^# --- found by crowdstream analyze[^\n\[]*+\[([0-9a-f]{12})\][^\n]*+\n", re.MULTILINE
)
_END_LINE = re.compile(r"^# --- end of what was found ---[ \t\r]*\n?", re.MULTILINE)


def split(text: str) -> tuple[str, str]:
    """What a person wrote in a sidecar, and what was found and not touched since.

    What was found is taken out as empty lines, so that line numbers stay.
    """
    before, found, after, lines = _parts(text)
    return before + "\n" * lines + after, found


def rewrite(text: str, found: str) -> str:
    """A sidecar's text with another found part: whole lines, or nothing to leave it out."""
    before, _old, after, _lines = _parts(text)
    own = _END_LINE.sub("", _BEGIN_LINE.sub("", before)).rstrip()
    own = "\n\n".join(part for part in (own, after.strip()) if part)
    if not found:
        return own + "\n" if own else ""
    mark = f"{BEGIN} [{checksum(found)}]: written anew each time, what stands above wins ---\n"
    return (own + "\n\n" if own else "") + mark + found + END + "\n"


def _parts(text: str) -> tuple[str, str, str, int]:
    # Before, found, after, and how many lines the found part takes with its marks.
    begin = _BEGIN_LINE.search(text)
    end = _END_LINE.search(text, begin.end()) if begin else None
    if begin is None or end is None or checksum(text[begin.end() : end.start()]) != begin[1]:
        return text, "", "", 0
    lines = text.count("\n", begin.start(), end.end())
    return text[: begin.start()], text[begin.end() : end.start()], text[end.end() :], lines


def checksum(found: str) -> str:
    """Of the part that was found; how lines end does not count."""
    plain = found.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    return hashlib.sha256(plain).hexdigest()[:12]
