"""The two parts of a sidecar file: values written by a person, and values found by analysis.

`crowdstream analyze` writes its part between two marker lines and replaces that part on each run.
The first marker holds a checksum of the part. If a line of the part has been edited by hand, the
checksum no longer matches, and the whole part is treated as written by a person from then on.
"""

from __future__ import annotations

import hashlib
import re

BEGIN = "# --- found by crowdstream analyze"
END = "# --- end of what was found ---"
# Possessive quantifiers, and no bracket before the checksum: at most one way to match, so the
# search can't backtrack.
_BEGIN_LINE = re.compile(
    r"^# --- found by crowdstream analyze[^\n\[]*+\[([0-9a-f]{12})\][^\n]*+\n", re.MULTILINE
)
_END_LINE = re.compile(r"^# --- end of what was found ---[ \t\r]*\n?", re.MULTILINE)


def split_sidecar(text: str) -> tuple[str, str]:
    """Return the person's part of a sidecar, and the analysis part if nobody has edited it.

    In the person's part, the analysis part is replaced by as many empty lines, so that line numbers
    in error messages stay correct. The analysis part is empty where there is none.
    """
    before, found, after, lines = _parts(text)
    return before + "\n" * lines + after, found


def rewrite(text: str, found: str) -> str:
    """Return a sidecar's text with its analysis part replaced by `found`.

    found: whole lines; an empty string removes the analysis part.
    """
    before, _old, after, _lines = _parts(text)
    own = _END_LINE.sub("", _BEGIN_LINE.sub("", before)).rstrip()
    own = "\n\n".join(part for part in (own, after.strip()) if part)
    if not found:
        return own + "\n" if own else ""
    mark = f"{BEGIN} [{checksum(found)}]: rewritten on each run; values above take precedence ---\n"
    return (own + "\n\n" if own else "") + mark + found + END + "\n"


def _parts(text: str) -> tuple[str, str, str, int]:
    # Text before, inside and after the analysis part; number of lines that it takes, markers
    # included.
    begin = _BEGIN_LINE.search(text)
    end = _END_LINE.search(text, begin.end()) if begin else None
    if begin is None or end is None or checksum(text[begin.end() : end.start()]) != begin[1]:
        return text, "", "", 0
    lines = text.count("\n", begin.start(), end.end())
    return text[: begin.start()], text[begin.end() : end.start()], text[end.end() :], lines


def checksum(found: str) -> str:
    """Return 12 hexadecimal digits of the analysis part's SHA-256; line endings do not matter."""
    plain = found.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    return hashlib.sha256(plain).hexdigest()[:12]
