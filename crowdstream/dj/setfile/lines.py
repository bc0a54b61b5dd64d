"""Line numbers in a set file, for error messages; tomllib does not keep them."""

from __future__ import annotations

import re

_HEAD = re.compile(r"\s*\[{1,2}\s*(set|track|track\s*\.\s*transition)\s*\]{1,2}\s*(#.*)?$")
# An unterminated string extends to the end of the line. Retrying from every quote would take time
# quadratic in the length of the line.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?|\'[^\']*+\'?')


class Lines:
    """Finds the lines of keys; falls back to the line of the table, and then to line 1."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._spans: dict[tuple[str, int], tuple[int, int]] = {}
        index, name, begin = -1, "", 0
        for number, line in enumerate(self._lines):
            found = _HEAD.match(line)
            if not found:
                continue
            self._spans.setdefault((name, index), (begin, number))
            name = "".join(found[1].split()).removeprefix("track.")
            if name == "track":
                index += 1
            begin = number
        self._spans.setdefault((name, index), (begin, len(self._lines)))

    def _span(self, part: str, index: int) -> tuple[int, int]:
        return self._spans.get((part, index)) or self._spans.get(("track", index)) or (0, 0)

    def key(self, part: str, index: int, name: str) -> int:
        """Return the line number, from 1, of a key in `set`, a track or its transition."""
        begin, end = self._span(part, index)
        wanted = re.compile(rf"""\s*["']?{re.escape(name)}["']?\s*[.=]""")
        for number in range(begin, end):
            if wanted.match(self._lines[number]):
                return number + 1
        return begin + 1

    def anywhere(self, name: str) -> int:
        """Return the number of the first line with this table or key."""
        wanted = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[\].=]""")
        for number, line in enumerate(self._lines):
            if wanted.match(line):
                return number + 1
        return 1

    def rows(self, index: int) -> list[int]:
        """Return the line numbers of the lists in `track_commands` of a track's transition."""
        end = self._span("transition", index)[1]
        found: list[int] = []
        depth = 0
        for number in range(self.key("transition", index, "moves") - 1, end):
            line = _STRING.sub('""', self._lines[number]).partition("#")[0]
            if not depth and "=" in line:
                line = line.partition("=")[2]
            for letter in line:
                if letter == "[":
                    depth += 1
                    if depth == 2:
                        found.append(number + 1)
                depth -= letter == "]"
            if found and not depth:
                break
        return found
